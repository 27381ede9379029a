"""Equivalence of paired runs: TOST against scipy's own tests, and what it says of named cases."""

from __future__ import annotations

import pytest
from scipy import stats

from halftrack.evaluation import paired_equivalence

FP32 = [0.949, 0.978, 0.972, 0.994, 0.988]
FP16 = [0.946, 0.972, 0.960, 0.979, 0.939]


def test_p_is_the_larger_of_two_one_sided_t_tests() -> None:
    found = paired_equivalence(FP32, FP16, margin=0.02)
    differences = [b - a for a, b in zip(FP32, FP16, strict=True)]
    low = stats.ttest_1samp(differences, -0.02, alternative="greater").pvalue
    high = stats.ttest_1samp(differences, 0.02, alternative="less").pvalue
    assert found.p == pytest.approx(max(low, high))
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert found.interval == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("story", "second", "equivalent", "different"),
    [
        ("the same but for noise", [50.1, 49.9, 50.0, 50.1], True, False),
        ("a little worse, every time", [49.6, 49.5, 49.7, 49.6], True, False),
        ("two points worse", [48.1, 47.9, 48.0, 48.1], False, True),
        ("two points better is not the same", [52.1, 51.9, 52.0, 52.1], False, True),
        ("too noisy to tell", [53.0, 47.0, 52.0, 48.0], False, False),
        ("equal to the last digit", [50.0, 50.0, 50.0, 50.0], True, False),
        ("off by more than the margin without any spread", [48.0] * 4, False, True),
    ],
)
def test_what_is_said_of(
    story: str, second: list[float], equivalent: bool, different: bool
) -> None:
    found = paired_equivalence([50.0] * 4, second, margin=1.0)
    assert (found.equivalent, found.different) == (equivalent, different), story


def test_more_spread_needs_more_pairs() -> None:
    calm = paired_equivalence([50.0] * 4, [50.1, 49.9, 50.0, 50.1], margin=1.0)
    wild = paired_equivalence([50.0] * 4, [53.0, 47.0, 52.0, 48.0], margin=1.0)
    assert calm.pairs_needed < 5 < 30 < wild.pairs_needed


@pytest.mark.parametrize(
    ("first", "second", "options", "told"),
    [
        ([1.0], [1.0], {}, "1 and 1 runs: expected equal numbers, at least two each"),
        ([1.0, 2.0], [1.0], {}, "2 and 1 runs"),
        ([1.0, 2.0], [1.0, float("nan")], {}, "not finite"),
        ([1.0, 2.0], [1.0, 2.0], {"margin": 0.0}, "margin=0.0"),
        ([1.0, 2.0], [1.0, 2.0], {"alpha": 0.7}, "alpha=0.7"),
    ],
)
def test_what_cannot_be_tested_is_refused(
    first: list[float], second: list[float], options: dict[str, float], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        paired_equivalence(first, second, **{"margin": 1.0, **options})
