"""Equivalence test on paired runs: is half precision as good as fp32?

Two one-sided t-tests (TOST) on the differences of pairs: Schuirmann 1987; Lakens 2017. A difference
that is not significant proves nothing where runs differ by a point among themselves; this test asks
whether the mean difference is shown to lie within a margin stated beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Equivalence", "paired_equivalence"]


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Result of an equivalence test; all values but counts and p are in the metric's unit."""

    pairs: int
    """Number of paired runs."""
    margin: float
    """Largest mean difference, up or down, that counts as no difference."""
    alpha: float
    """Accepted probability of calling runs equivalent that are not."""
    mean: float
    """Mean of the differences, second minus first."""
    deviation: float
    """Standard deviation of the differences."""
    interval: tuple[float, float]
    """Confidence interval of the mean difference, with confidence ``1 - 2 * alpha``."""
    p: float
    """The larger p of the two one-sided tests; the runs are equivalent if it is below ``alpha``."""

    @property
    def equivalent(self) -> bool:
        """The mean difference is shown to lie within the margin."""
        return self.p < self.alpha

    @property
    def different(self) -> bool:
        """The mean difference is shown to lie outside the margin."""
        low, high = self.interval
        return low > self.margin or high < -self.margin

    @property
    def pairs_needed(self) -> int:
        """Number of pairs that would show equivalence with a probability of 0.8.

        This assumes that the true difference is 0 and that runs vary as much as these did; it is a
        rough guess if there are few pairs.
        """
        from scipy import stats  # half a second, which only parity needs

        spread = self.deviation / self.margin
        # Normal quantiles; the two to start with are what a t-test of so few costs on top.
        quantiles = stats.norm.isf(self.alpha) + stats.norm.isf(0.1)
        return math.ceil(float(spread * quantiles) ** 2) + 2


def paired_equivalence(
    first: Sequence[float], second: Sequence[float], *, margin: float, alpha: float = 0.05
) -> Equivalence:
    """Test whether ``second`` is as good as ``first``, pair by pair.

    Args:
        first: a metric of the reference runs, e.g. in fp32.
        second: the same metric of their partners, e.g. in fp16 from the same seeds.
        margin: largest mean difference that counts as no difference.
        alpha: accepted probability of a false answer.

    Raises:
        ValueError: if there are fewer than two pairs, the lists differ in length, a value is not
            finite, or the margin is not above 0.
    """
    from scipy import stats

    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"{len(first)} and {len(second)} runs: expected equal numbers, at least two each"
        )
    if not margin > 0 or not 0 < alpha < 0.5:
        raise ValueError(f"margin={margin}, alpha={alpha}: expected above 0 and between 0 and 0.5")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    if not np.isfinite(differences).all():
        raise ValueError(f"a run's metric is not finite: {list(first)} and {list(second)}")
    count, mean = len(differences), float(differences.mean())
    deviation = float(differences.std(ddof=1))
    error = deviation / math.sqrt(count)
    reach = float(stats.t.isf(alpha, count - 1)) * error
    if error > 0:
        statistic = (margin - abs(mean)) / error
        p = float(stats.t.sf(statistic, count - 1))
    else:  # equal differences leave nothing to chance
        p = 0.0 if abs(mean) < margin else 1.0
    return Equivalence(
        pairs=count,
        margin=margin,
        alpha=alpha,
        mean=mean,
        deviation=deviation,
        interval=(mean - reach, mean + reach),
        p=p,
    )
