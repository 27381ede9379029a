"""Losses as training steps return them: a tensor, a dict of terms, or an output with ``.loss``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from halftrack.precision.errors import PrecisionError

__all__ = ["loss_terms"]


def loss_terms(returned: Any) -> dict[str, Tensor]:
    """The loss terms by name, scalars whose sum is trained.

    Args:
        returned: a scalar tensor; an object with one as ``.loss``, such as an output of
            transformers; or a mapping. Of a mapping the entry ``loss`` is trained if there is one,
            and if not all entries that have a gradient or whose name begins with ``loss``; others
            are left out.

    Raises:
        PrecisionError: for anything else; says what was given and what is allowed.
    """
    if isinstance(returned, Tensor):
        return {"loss": _scalar(returned, "the loss")}
    if not isinstance(returned, Mapping) or hasattr(returned, "loss"):
        loss = getattr(returned, "loss", None)
        if isinstance(loss, Tensor):
            return {"loss": _scalar(loss, f"the .loss of a {type(returned).__name__}")}
        missing = " whose .loss is None (are there labels in the batch?)"
        raise PrecisionError(
            f"the step returned a {type(returned).__name__}"
            f"{missing if hasattr(returned, 'loss') else ''}: expected a scalar tensor, a dict of "
            "them, or an object with one as .loss"
        )
    if isinstance(returned.get("loss"), Tensor):
        return {"loss": _scalar(returned["loss"], "the entry 'loss'")}
    terms = {
        str(name): _scalar(value, f"the entry {name!r}")
        for name, value in returned.items()
        if isinstance(value, Tensor) and (value.requires_grad or str(name).startswith("loss"))
    }
    if not terms:
        raise PrecisionError(
            f"the step returned a dict with {sorted(map(str, returned))}, none of which is "
            "a tensor with a gradient: expected scalar losses"
        )
    return terms


def _scalar(loss: Tensor, name: str) -> Tensor:
    if loss.numel() != 1:
        raise PrecisionError(
            f"{name} has the shape {tuple(loss.shape)}: expected one number, as .mean() or .sum()"
        )
    return loss if loss.dim() == 0 else loss.reshape(())
