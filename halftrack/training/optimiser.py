"""The start of training: SGD, ramps of its rate, and who trains when."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import SGD

from halftrack.errors import UserError
from halftrack.precision.step import FusedSGD
from halftrack.training.config import Phase

__all__ = ["apply_phases", "build_sgd"]


def build_sgd(
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    slower: Mapping[str, float] | None = None,
) -> SGD:
    """SGD over every parameter, frozen ones included: they get no gradient and so no step.

    Built from named parameters, so that a non-finite gradient can be named.

    Args:
        model: whose parameters.
        lr: learning rate.
        momentum: SGD's.
        weight_decay: SGD's.
        slower: by a pattern of parameter names, what the rate of these is multiplied by.

    Raises:
        ValueError: if a pattern matches no parameter.
    """
    groups: dict[float, list[tuple[str, nn.Parameter]]] = {1.0: []}
    slower = slower or {}
    unused = set(slower)
    for name, parameter in model.named_parameters():
        pattern = next((each for each in slower if fnmatchcase(name, each)), None)
        unused.discard(pattern or "")
        groups.setdefault(slower[pattern] if pattern else 1.0, []).append((name, parameter))
    if unused:
        pattern, names = sorted(unused)[0], [name for name, _ in model.named_parameters()]
        raise UserError(
            f"training.lr_factors: {pattern!r} matches no parameter; {_nearest(pattern, names)}"
        )
    named = [{"params": rows, "lr": lr * factor} for factor, rows in groups.items() if rows]
    return FusedSGD(named, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


def apply_phases(model: nn.Module, phases: Sequence[Phase], epoch: int) -> None:
    """Freeze and thaw parameters as the last phase begun by ``epoch`` says; no phase, no change.

    To be called in training mode, at the start of every epoch: ``model.train()`` freezes statistics
    as the model says.

    Raises:
        ValueError: if a pattern matches no parameter.
    """
    begun = [phase for phase in phases if phase.first_epoch <= epoch]
    if not begun:
        return
    current = max(begun, key=lambda phase: phase.first_epoch)
    names = [name for name, _ in model.named_parameters()]
    for pattern in current.trainable:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"training.phases from epoch {current.first_epoch}: {pattern!r} matches no "
                f"parameter; {_nearest(pattern, names)}"
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in current.trainable))
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for pattern in current.batch_statistics:
        thawed = [norm for name, norm in norms.items() if fnmatchcase(name, pattern)]
        if not thawed:
            raise UserError(
                f"training.phases from epoch {current.first_epoch}: {pattern!r} matches no batch "
                f"norm; {_nearest(pattern, list(norms))}"
            )
        for norm in thawed:
            norm.train()


def _nearest(pattern: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
    return f"the nearest are {', '.join(near)}" if near else "there is none"
