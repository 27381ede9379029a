"""Advice on the loss scale, from histograms of a model's gradients.

Micikevicius et al. 2017 (arXiv 1710.03740), section 3.2: gradients in [2^-27, 2^-24) must be kept,
those below 2^-27 are irrelevant; the largest must stay finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from halftrack.precision.histogram import Histogram
from halftrack.precision.sites import OUTERMOST

__all__ = ["LossScaleAdvice"]

_RELEVANT = -27
"""Exponent from which on a gradient matters."""
_KEPT = 0.999
"""Share of the gradients that matter which a scale must keep in every module."""
_EXPONENTS = range(-128, 25)
"""Loss scales looked at, as powers of two, up to the bound of ``DynamicLossScale``."""


@dataclass(frozen=True)
class LossScaleAdvice:
    """The loss scales that suit a model's gradients in fp16, and what others would lose.

    Scales are powers of two. From the ranges of one step::

        advice = LossScaleAdvice(meter.ranges.gradients)
        print(advice.recommended, advice.lost_share(1.0))

    Raises:
        ValueError: if a gradient is not finite, as such a step says nothing about other scales;
            names the module.
    """

    gradients: Mapping[str, Histogram] = field(repr=False)
    """Unscaled gradients by module path, as ``Ranges.gradients`` has them."""
    headroom: int = 2
    """Octaves that the safe range leaves between the largest gradient and overflow."""

    def __post_init__(self) -> None:
        for path, histogram in self.gradients.items():
            if histogram.nonfinite:
                raise ValueError(
                    f"{histogram.nonfinite} gradients of {path or OUTERMOST} are not "
                    "finite: take the histograms at a smaller loss scale"
                )

    def lost_share(self, scale: float, module: str | None = None) -> float:
        """Share of the non-zero gradients that become 0 or infinite in fp16 at a loss scale.

        Right to 0.1 percentage points where up to 5% are lost (benchmarks/ranges.md). The more is
        lost, the more it changes the gradients computed from the rest, which the share leaves out.

        Args:
            scale: the loss scale.
            module: path of one module; all of them if None.

        Raises:
            KeyError: if nothing was seen of the module.
            ValueError: unless the scale is a power of two.
        """
        chosen = self.gradients.values() if module is None else [self.gradients[module]]
        nonzero = sum(histogram.nonzero for histogram in chosen)
        lost = sum(h.becomes_zero(scale) + h.becomes_inf(scale) for h in chosen)
        return lost / nonzero if nonzero else 0.0

    def overflows(self, scale: float) -> tuple[str, ...]:
        """Modules with a gradient that is infinite in fp16 at a loss scale: the step is skipped."""
        return tuple(path for path, h in self.gradients.items() if h.becomes_inf(scale))

    @property
    def greatest(self) -> float:
        """The largest scale at which nothing overflows, without headroom."""
        return min((_greatest(h) for h in self.gradients.values()), default=_greatest(Histogram()))

    @property
    def least(self) -> float:
        """The smallest scale, 1 or more, that keeps the gradients that matter in every module.

        These are 99.9% of its gradients of 2^-27 and more.
        """
        return max((_least(h) for h in self.gradients.values()), default=1.0)

    @property
    def safe(self) -> tuple[float, float] | None:
        """Least and greatest scale that keep what matters, with ``headroom``, or None."""
        greatest = self.greatest * 2.0**-self.headroom
        return (self.least, greatest) if self.least <= greatest else None

    @property
    def recommended(self) -> float | None:
        """The scale in the middle of the safe range, as far from overflow as from loss."""
        safe = self.safe
        if safe is None:
            return None
        octave = next(e for e in _EXPONENTS if 4.0**e >= safe[0] * safe[1])
        return 2.0**octave

    @property
    def unserved(self) -> tuple[str, ...]:
        """Modules that overflow at the smallest scale that all modules need: no single scale fits.

        Once they are kept in fp32 (``Precision.keep_fp32``), a scale fits the others.
        """
        return self.overflows(self.least)


def _greatest(histogram: Histogram) -> float:
    return max(2.0**e for e in _EXPONENTS if not histogram.becomes_inf(2.0**e))


def _least(histogram: Histogram) -> float:
    relevant = histogram.at_least(_RELEVANT)
    irrelevant = histogram.nonzero - relevant
    return next(
        2.0**e
        for e in range(_EXPONENTS.stop)
        if max(histogram.becomes_zero(2.0**e) - irrelevant, 0) <= (1 - _KEPT) * relevant
    )
