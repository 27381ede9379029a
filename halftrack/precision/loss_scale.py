"""The three loss scales, with one interface: none, static, dynamic.

Micikevicius et al. 2017 (arXiv 1710.03740), section 3.2; constants as in torch.amp.GradScaler, but
bounded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from halftrack.precision.errors import PrecisionError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DynamicLossScale", "LossScale", "NoLossScale", "StaticLossScale", "scale_words"]

logger = logging.getLogger(__name__)

_WHOLE = 2.0**53  # up to which a float holds each whole number


class LossScale(Protocol):
    """Multiplies a run's loss, and adapts to overflows; one for all the run's optimizers."""

    value: float
    """The present scale."""
    consecutive_skips: int
    """Steps skipped in a row so far."""
    skips_steps: bool
    """True if a non-finite gradient skips the step; if not, it is an error."""

    @property
    def exhausted(self) -> bool:
        """True if an overflow at this scale cannot be mended by a smaller one."""

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale, ready for the backward pass."""

    def update(self, *, found_inf: bool) -> None:
        """Adapt to the outcome of one step."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values that ``load_state_dict`` takes back."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``."""


class NoLossScale:
    """No loss scale, for all but fp16: a non-finite gradient is an error."""

    skips_steps = False
    exhausted = True

    def __init__(self) -> None:
        self.value = 1.0
        self.consecutive_skips = 0

    def scale(self, loss: Tensor) -> Tensor:
        """The loss, unchanged."""
        return loss

    def update(self, *, found_inf: bool) -> None:
        """Change nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The kind, ``none``."""
        return {"kind": "none"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            ValueError: for the state of another kind.
        """
        _expect_kind(state, "none")


class StaticLossScale:
    """A constant scale, 512 in the published recipes.

    Raises:
        ValueError: if the scale is not positive.
    """

    skips_steps = True

    def __init__(self, value: float) -> None:
        if not value > 0:
            raise PrecisionError(f"a loss scale must be positive, got {value}")
        self.value = float(value)
        self.consecutive_skips = 0

    @property
    def exhausted(self) -> bool:
        """True if the scale is 1 or less: at larger ones the next batch may fit."""
        return self.value <= 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        return loss * self.value

    def update(self, *, found_inf: bool) -> None:
        """Count skipped steps; the scale stays."""
        self.consecutive_skips = self.consecutive_skips + 1 if found_inf else 0

    def state_dict(self) -> dict[str, Any]:
        """The scale and skipped steps in a row."""
        return {"kind": "static", "scale": self.value, "skips": self.consecutive_skips}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            ValueError: for the state of another kind.
        """
        _expect_kind(state, "static")
        self.value, self.consecutive_skips = float(state["scale"]), int(state["skips"])


class DynamicLossScale:
    """A scale that halves at every overflow and doubles after a run of clean steps, within bounds.

    Without bounds a run of NaN drives the scale to exactly 0, from where it never comes back::

        loss_scale = DynamicLossScale(initial=1024.0)
        loss_scale.scale(model(batch)).backward()
        report = optimizer_step([optimizer], loss_scale)  # changes it where it must

    Raises:
        ValueError: if the bounds do not hold the initial scale.
    """

    skips_steps = True

    def __init__(
        self,
        *,
        initial: float = 65536.0,
        growth: float = 2.0,
        backoff: float = 0.5,
        growth_interval: int = 2000,
        bounds: tuple[float, float] = (1.0, 2.0**24),
    ) -> None:
        if not 0 < bounds[0] <= initial <= bounds[1]:
            raise PrecisionError(f"initial loss scale {initial} lies outside its bounds {bounds}")
        self.value = float(initial)
        self.consecutive_skips = 0
        self._growth, self._backoff, self._interval = growth, backoff, growth_interval
        self._bounds = bounds
        self._clean_steps = 0

    @property
    def exhausted(self) -> bool:
        """True if the scale is at its lower bound."""
        return self.value <= self._bounds[0]

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        return loss * self.value

    def update(self, *, found_inf: bool) -> None:
        """Back off on an overflow, grow after enough clean steps."""
        if found_inf:
            self.consecutive_skips += 1
            self._clean_steps = 0
            self.value = max(self.value * self._backoff, self._bounds[0])
            return
        self.consecutive_skips = 0
        self._clean_steps += 1
        if self._clean_steps >= self._interval:
            self._clean_steps = 0
            self.value = min(self.value * self._growth, self._bounds[1])

    def state_dict(self) -> dict[str, Any]:
        """The scale, how it moves, clean steps since it last changed, skipped steps in a row."""
        return {
            "kind": "dynamic",
            "scale": self.value,
            "growth_factor": self._growth,
            "backoff_factor": self._backoff,
            "growth_interval": self._interval,
            "clean_steps": self._clean_steps,
            "skips": self.consecutive_skips,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over our own state or that of a ``torch.amp.GradScaler``.

        A GradScaler's scale may have run out of bounds (0.0 after NaNs); it is clamped, with a
        message.

        Raises:
            ValueError: for the state of another kind.
        """
        if "_growth_tracker" in state:
            self._clean_steps, self.consecutive_skips = int(state["_growth_tracker"]), 0
        else:
            _expect_kind(state, "dynamic")
            self._clean_steps = int(state["clean_steps"])
            self.consecutive_skips = int(state["skips"])
        # Earlier versions did not write these three.
        self._growth = float(state.get("growth_factor", self._growth))
        self._backoff = float(state.get("backoff_factor", self._backoff))
        self._interval = int(state.get("growth_interval", self._interval))
        given = float(state["scale"])
        low, high = self._bounds
        # The comparison also catches NaN, which min and max would let through.
        self.value = min(max(given, low), high) if given == given else low
        if self.value != given:
            logger.warning(
                "loss scale %g lies outside [%g, %g] and was clamped to %g",
                given,
                low,
                high,
                self.value,
            )


def _expect_kind(state: Mapping[str, Any], kind: str) -> None:
    if state.get("kind") != kind:
        raise PrecisionError(
            f"this run has a {kind} loss scale, the state is of kind {state.get('kind')!r} "
            f"(keys {sorted(state)})"
        )


def scale_words(scale: float) -> str:
    """A loss scale to print: ``float`` of it is the scale again, which ``{:g}`` often rounds.

    Whole numbers up to 2^53 have neither a fraction nor an exponent.
    """
    scale = float(scale)
    return str(int(scale)) if scale.is_integer() and abs(scale) <= _WHOLE else repr(scale)
