"""Checks for other people's test suites: does a training step survive half precision?

def test_it_trains_in_fp16():
halftrack.testing.assert_rehearses_clean(step, batches, model=model, optimizer=optimizer)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from halftrack.precision import Precision
    from halftrack.rehearsing import Report

__all__ = ["assert_rehearses_clean"]


def assert_rehearses_clean(
    step: Callable[[Any, Any], Any],
    batches: Iterable[Any],
    *,
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    precision: Precision | str = "fp16",
    steps: int = 5,
    accumulate: int = 1,
    max_grad_norm: float | None = None,
) -> Report:
    """Rehearse a few steps and fail with the culprit if something must change before training.

    Steps that are skipped while a dynamic loss scale comes down are not a fault, as long as one is
    taken. The model is left as it was.

    Args:
        step: takes the model and a batch and returns the loss, as ``halftrack.rehearse`` takes it.
        batches: of any type; repeated if there are fewer than steps.
        model: in the mode in which it trains.
        optimizer: the optimizer, or several that step together.
        precision: ``fp16``, ``bf16``, ``tf32`` or a ``Precision``, whose ``keep_fp32`` is followed.
        steps: attempted steps.
        accumulate: batches that make a step.
        max_grad_norm: clip gradients to this norm; None to leave them.

    Returns:
        The report.

    Raises:
        AssertionError: with what must change, a line each.
        UserError: as ``halftrack.rehearse`` does.
    """
    from halftrack.rehearsing import rehearse

    report = rehearse(
        step,
        batches,
        model=model,
        optimizer=optimizer,
        precision=precision,
        steps=steps,
        every=1,
        accumulate=accumulate,
        max_grad_norm=max_grad_norm,
        memory=False,
    )
    if report.must_change:
        lines = "\n".join(f"- {change}" for change in report.must_change)
        raise AssertionError(
            f"{report.name} does not survive {len(report.steps)} steps in "
            f"{report.precision.name}:\n{lines}"
        )
    return report
