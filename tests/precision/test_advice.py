"""Advice on the loss scale follows from what fp16 makes of the gradients."""

from __future__ import annotations

import pytest
import torch

from halftrack.precision import Histogram, LossScaleAdvice


def of(*values: float) -> Histogram:
    return Histogram.of(torch.tensor(values))


# The gradients of each module, then the least and greatest scale, the safe range, the
# recommendation and who is not served.
ROWS = {
    "ordinary gradients": (
        {"a": of(1.0, 1e-3), "b": of(0.1)},
        (1.0, 32768.0, (1.0, 8192.0), 128.0, ()),
    ),
    "small gradients in the paper's band need a scale of 8": (
        {"a": of(1.0), "b": of(2.0**-27, 2.0**-20)},
        (8.0, 32768.0, (8.0, 8192.0), 256.0, ()),
    ),
    "just under the band nothing matters": (
        {"a": of(1.0), "b": of(2.0**-28, 2.0**-40)},
        (1.0, 32768.0, (1.0, 8192.0), 128.0, ()),
    ),
    "one of a thousand may be lost": (
        {"a": Histogram.of(torch.tensor([2.0**-26] + [1.0] * 999))},
        (1.0, 32768.0, (1.0, 8192.0), 128.0, ()),
    ),
    "one of a hundred may not": (
        {"a": Histogram.of(torch.tensor([2.0**-26] + [1.0] * 99))},
        (4.0, 32768.0, (4.0, 8192.0), 256.0, ()),
    ),
    "the largest gradient just fits": (
        {"a": of(65519.0 / 4)},
        (1.0, 4.0, (1.0, 1.0), 1.0, ()),
    ),
    "without headroom there is no safe scale": (
        {"a": of(65504.0 / 4), "b": of(2.0**-26)},
        (4.0, 4.0, None, None, ()),
    ),
    "a module that no scale serves is named": (
        {"backbone": of(2.0**-27, 1e-4), "head.planted": of(20000.0), "neck": of(1.0)},
        (8.0, 2.0, None, None, ("head.planted",)),
    ),
    "nothing seen": ({}, (1.0, 2.0**24, (1.0, 2.0**22), 2048.0, ())),
}


@pytest.mark.parametrize("story", ROWS)
def test_the_range_of_scales_and_the_one_recommended(story: str) -> None:
    gradients, expected = ROWS[story]
    advice = LossScaleAdvice(gradients)
    found = (advice.least, advice.greatest, advice.safe, advice.recommended, advice.unserved)
    assert found == expected


def test_the_others_are_served_once_the_module_is_kept_in_fp32() -> None:
    gradients, _ = ROWS["a module that no scale serves is named"]
    rest = {path: h for path, h in gradients.items() if path != "head.planted"}
    assert LossScaleAdvice(rest).safe == (8.0, 8192.0)


def test_lost_share_counts_zeros_and_infinities_of_all_or_of_one() -> None:
    advice = LossScaleAdvice({"a": of(2.0**-26, 1.0, 0.0), "b": of(1.0, 1024.0)})
    assert advice.lost_share(1.0) == 1 / 4
    assert advice.lost_share(1.0, "a") == 1 / 2
    assert advice.lost_share(64.0) == 1 / 4
    assert advice.lost_share(32.0) == 0.0
    assert advice.overflows(64.0) == ("b",)
    assert advice.overflows(32.0) == ()


def test_an_overflowed_step_tells_nothing() -> None:
    with pytest.raises(ValueError, match="1 gradients of neck are not finite: take the histograms"):
        LossScaleAdvice({"neck": of(1.0, float("inf"))})
