"""The cause of a skipped step, in words and with the remedy.

NaN and infinities spread within a few ops to every gradient. The remedy depends on where the first
of them arose, on what it was made from, and on the loss scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from halftrack.precision.loss_scale import scale_words
from halftrack.precision.nonfinite import Direction, Kind
from halftrack.precision.sites import OUTERMOST

__all__ = ["Culprit", "of_targets"]

_HANDED_IN = ("batch", "parameter", "buffer")


@dataclass(frozen=True, kw_only=True)
class Culprit:
    """The first non-finite tensor that a step's gradients descend from.

    Two are equal if they name the same thing; how large it was may differ from device to device.
    """

    where: str
    """Path of the module, as in ``named_modules``, or ``the model itself``. For a batch it is the
    field, for weights the parameter or buffer, for a norm the parameter that adds most to it."""
    operation: str
    """Name of the op in the forward pass (``convolution``, ``softmax``, ``mul``, ``cast``);
    outside the graph ``batch``, ``target``, ``parameter``, ``buffer``, ``constant`` or ``norm``."""
    direction: Direction | None
    """``forward``, ``backward``, or None outside the graph."""
    kind: Kind
    """``overflow``: an infinity made of finite values; ``NaN``: made of finite values; ``0 x inf``:
    NaN made of a deliberate infinity, such as a mask; ``infinity``: handed in as such, or
    deliberate."""
    loss_term: str | None
    """The loss term to blame, or None. For a backward fault it is the term whose own backward pass
    makes it, for a forward fault the only term that suffers from it."""
    sample_ids: tuple[str, ...]
    """All samples of the batch."""
    bad_samples: tuple[str, ...]
    """Samples with non-finite values, if the tensor's first dimension is the batch; else empty."""
    dtype: str
    """The tensor's dtype, e.g. ``float16``."""
    loss_scale: float
    """Loss scale that the gradients were computed with."""
    magnitude: float | None = field(compare=False)
    """Largest lost value, computed in the next wider type; None if it is lost there too."""
    fits_at: float | None = field(compare=False)
    """Largest loss scale, a power of two, at which the whole step is finite; None if no loss scale
    helps."""
    fits_whole_step: bool = field(default=True, compare=False)
    """False if ``fits_at`` is known of this tensor alone, and the step may need a smaller one: the
    step could not be computed again."""
    raised: str | None = field(default=None, compare=False)
    """The exception that computing the loss ended with, as its type and message; None if it
    returned."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``from_dict`` takes them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Culprit:
        """The culprit that ``to_dict`` wrote."""
        lists = {name: tuple(values[name]) for name in ("sample_ids", "bad_samples")}
        return cls(**{**values, **lists})

    def __str__(self) -> str:
        raised = f"; the loss then raised {self.raised}" if self.raised else ""
        return f"{self._sentence}{raised}"

    @property
    def _sentence(self) -> str:
        samples = ", ".join(self.bad_samples)
        if self.operation == "target":
            return (
                f"the target of {samples} has no area or is not finite; no loss scale helps: mend "
                "its annotation, or leave it out"
            )
        if self.operation == "constant":
            return f"a constant in {self.where} held NaN"
        if self.operation in _HANDED_IN:
            held = "NaN" if self.kind == "NaN" else "an infinity"
            who = f" of {samples}" if samples and self.operation == "batch" else ""
            when = "" if self.operation == "batch" else " before the step"
            return f"{self.operation} {self.where}{who} held {held}{when}"
        of_samples = f"; samples: {samples}" if samples else ""
        if self.operation == "norm":
            return (
                f"the squares of all gradients add up to more than {self.dtype} holds, their norm "
                f"is {self._amount}; the largest gradient is that of {self.where}; no loss scale "
                "helps"
            )
        term = f" for {self.loss_term}" if self.loss_term else ""
        place = f"{self.direction} {self.operation} in {self.where}{term}"
        return f"{place} {self._fault}; {self._remedy}{of_samples}"

    @property
    def _amount(self) -> str:
        return "beyond measure" if self.magnitude is None else f"{self.magnitude:.3g}"

    @property
    def _fault(self) -> str:
        if self.kind == "NaN":
            return "made NaN of finite values"
        if self.kind == "infinity":
            return "passed a deliberate infinity on"
        if self.kind == "0 x inf":
            return "made NaN of an infinity (0 x inf or inf - inf)"
        if self.magnitude is None:
            return f"made an infinity that no wider type than {self.dtype} holds either"
        limit = torch.finfo(getattr(torch, self.dtype)).max
        return f"reached {self._amount}, {self.dtype} ends at {limit:.5g}"

    @property
    def _remedy(self) -> str:
        if self.fits_at is not None:
            what = "the step" if self.fits_whole_step else "this one"
            fits, was = scale_words(self.fits_at), scale_words(self.loss_scale)
            return f"{what} fits at loss scale {fits} or less (was {was})"
        if self.kind != "overflow" or self.magnitude is None or self.dtype == "float32":
            return "no loss scale helps, nor does fp32: look at what it was given"
        if self.where == OUTERMOST:
            return "no loss scale helps; compute it within fp32_island"
        return f"no loss scale helps; keep {self.where} in fp32 (precision.keep_fp32)"


def of_targets(found: Culprit, batch: Any) -> Culprit:
    """The culprit, or the batch's targets where it knows that some cannot be learned.

    ``faulty_targets()`` of a batch names samples whose box has no area or is not finite: the
    logarithm of its size is not finite, wherever a loss takes it.
    """
    faulty: Callable[[], tuple[str, ...]] | None = getattr(batch, "faulty_targets", None)
    samples = faulty() if faulty is not None else ()
    too_large = found.kind == "overflow" and found.magnitude is not None
    if not samples or too_large or found.operation in ("parameter", "buffer", "norm"):
        return found
    return dataclasses.replace(
        found, operation="target", direction=None, kind="NaN", bad_samples=samples, fits_at=None
    )
