"""What a GPU holds beyond live bytes is a range that takes in every published run."""

from __future__ import annotations

import pytest

from halftrack.report.gpu_memory import CONTEXT, GIB, live_that_fits, on_a_gpu, parse_memory

PUBLISHED = [("fp32", 2.91, 3.49), ("fp32", 7.21, 7.54), ("fp16", 1.83, 2.71)]


@pytest.mark.parametrize(("precision", "live", "published"), PUBLISHED)
def test_each_published_run_lies_in_its_range(
    precision: str, live: float, published: float
) -> None:
    low, high = on_a_gpu(precision, round(live * GIB))
    assert low <= published * GIB + 1
    assert high >= published * GIB - 1
    assert low > live * GIB


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_is_less_certain_than_fp32(precision: str) -> None:
    low, high = on_a_gpu("fp32", GIB)
    lower, higher = on_a_gpu(precision, GIB)
    assert lower <= low < high < higher


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("memory", [2 * GIB, 11 * 10**9, 80 * GIB])
def test_what_fits_is_judged_by_the_most(precision: str, memory: int) -> None:
    live = live_that_fits(precision, memory)
    assert on_a_gpu(precision, int(live))[1] + CONTEXT <= memory
    assert on_a_gpu(precision, int(live) + 2)[1] + CONTEXT > memory


@pytest.mark.parametrize(
    ("text", "size"),
    [("11GB", 11 * 10**9), ("24GiB", 24 * 2**30), ("1.5 gib", 3 * 2**29), ("512MiB", 2**29)],
)
def test_memory_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["11", "GB", "11 GX", "-1GB", "0GB", "1e3GB", ""])
def test_other_memory_is_quoted_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=rf"GPU memory '{text}': expected .* as 24GiB"):
        parse_memory(text)
