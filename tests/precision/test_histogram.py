"""Magnitudes are counted exactly, and the counts know what fp16 makes of them at any scale."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from torch import Tensor

from halftrack.precision import Histogram

INF, NAN = float("inf"), float("nan")


def by_frexp(values: Tensor) -> dict[str, dict[int, int]]:
    """The three counts, from fp64's mantissas and exponents."""
    finite = values[values.isfinite() & (values != 0)].double()
    mantissas, exponents = torch.frexp(finite.abs())
    exponents -= 1
    kinds = {
        "counts": mantissas > 0,
        "powers": mantissas == 0.5,
        "tops": mantissas >= 1 - 2.0**-12,
    }
    return {name: dict(Counter(exponents[chosen].tolist())) for name, chosen in kinds.items()}


def check(values: Tensor, device: torch.device) -> None:
    histogram, expected = Histogram.of(values.to(device)), by_frexp(values)
    assert histogram.counts == expected["counts"]
    assert histogram.powers == expected["powers"]
    assert histogram.tops == expected["tops"]
    assert histogram.zeros == int((values == 0).sum())
    assert histogram.infs == int(values.isinf().sum())
    assert histogram.nans == int(values.isnan().sum())
    assert histogram.total == values.numel()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_power_of_two_and_its_neighbours_are_counted_as_frexp_has_them(
    dtype: torch.dtype, device: torch.device
) -> None:
    powers = 2.0 ** torch.arange(-149, 128, dtype=torch.float64)
    powers = powers[(powers.to(dtype) != 0) & powers.to(dtype).isfinite()].to(dtype)
    largest = torch.full_like(powers, torch.finfo(dtype).max)
    below = torch.nextafter(powers.float(), torch.zeros(())).to(dtype)
    above = torch.minimum(powers * (1 + torch.finfo(dtype).eps), largest)
    check(torch.cat([powers, -powers, below, above, largest, -largest]), device)


def test_zeros_of_both_signs_infinities_and_every_nan_are_told_apart(device: torch.device) -> None:
    strange = torch.tensor([0x7F800001, 0x7FC00000, 0x7FFFFFFF, -1], dtype=torch.int32)
    values = torch.tensor([0.0, -0.0, INF, -INF, -INF, 1.0, 65504.0])
    check(torch.cat([values, strange.view(torch.float32)]), device)
    assert Histogram.of(strange.view(torch.float32)) == Histogram(nans=4)


def test_more_values_than_are_counted_at_once(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 70_001, generator=generator) * 1e-3
    values[1, ::3] = 0.0
    check(values, device)
    check(values.t(), device)


def test_nothing_is_counted_in_an_empty_tensor() -> None:
    assert Histogram.of(torch.empty(0, 4)) == Histogram()


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got torch\.float64"):
        Histogram.of(torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (2.0**-24, "kept"),
        (2.0**-25 * (1 + 2.0**-23), "kept"),
        (2.0**-25, "zero"),
        (2.0**-26, "zero"),
        (65504.0, "kept"),
        (65519.99609375, "kept"),
        (65520.0, "inf"),
        (-65535.0, "inf"),
        (65536.0, "inf"),
        (1e30, "inf"),
        (0.0, "kept"),
    ],
)
@pytest.mark.parametrize("scale", [2.0**-3, 1.0, 512.0, 2.0**24])
def test_the_edges_of_fp16_lie_where_rounding_puts_them_at_any_scale(
    value: float, becomes: str, scale: float
) -> None:
    rounded = torch.tensor(value).half()
    assert becomes == ("inf" if rounded.isinf() else "zero" if rounded == 0 != value else "kept")
    histogram = Histogram.of(torch.tensor(value) / scale)
    assert histogram.becomes_zero(scale) == (becomes == "zero")
    assert histogram.becomes_inf(scale) == (becomes == "inf")


def test_rounding_a_whole_tensor_agrees_with_its_histogram() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(20_000, generator=generator) * 2.0 ** torch.linspace(-40, 20, 20_000)
    histogram = Histogram.of(values)
    for scale in (1.0, 8.0, 65536.0):
        rounded = (values * scale).half()
        assert histogram.becomes_zero(scale) == int(((rounded == 0) & (values != 0)).sum())
        assert histogram.becomes_inf(scale) == int(rounded.isinf().sum())


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale 1000\.0 is not a power of two"):
        Histogram.of(torch.ones(1)).becomes_zero(1000.0)


def test_the_sum_of_two_is_the_histogram_of_both() -> None:
    left, right = torch.tensor([1.0, 3.0, 0.0, INF]), torch.tensor([2.0**-25, 1.5, NAN, -0.0])
    assert Histogram.of(left) + Histogram.of(right) == Histogram.of(torch.cat([left, right]))


def test_shifting_is_multiplying() -> None:
    values = torch.tensor([1.0, 1.5, 2.0**-20, 0.0, 1.9998])
    assert Histogram.of(values).shifted(-9) == Histogram.of(values / 512.0)


def test_json_gives_back_the_same_histogram() -> None:
    histogram = Histogram.of(torch.tensor([1.0, 1.5, 2.0**-25, 65520.0, 0.0, INF, NAN]))
    assert Histogram.from_dict(json.loads(json.dumps(histogram.to_dict()))) == histogram


@pytest.mark.parametrize(
    ("largest", "headroom"),
    [(1.0, 15), (16384.0, 1), (32768.0, 0), (65519.0, 0), (65520.0, -1), (65536.0, -1), (2e5, -2)],
)
def test_headroom_counts_octaves_to_overflow(largest: float, headroom: int) -> None:
    assert Histogram.of(torch.tensor([0.0, 0.5, -largest])).headroom == headroom
