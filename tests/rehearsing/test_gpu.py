"""What a GPU holds beyond live bytes is a range that takes in every run that is known."""

from __future__ import annotations

import pytest

from halftrack.rehearsing.gpu import CONTEXT, MIB, live_that_fits, on_a_gpu, parse_memory

GIB = 1024 * MIB
PUBLISHED = [("fp32", 2.91, 3.49), ("fp32", 7.21, 7.54), ("fp16", 1.83, 2.71)]
MEASURED = [("fp32", 2066, 2144), ("fp32", 7379, 7434), ("bf16", 1147, 1163), ("fp16", 1036, 1085)]


@pytest.mark.parametrize(
    ("precision", "live", "held"),
    [(name, live * GIB, held * GIB) for name, live, held in PUBLISHED]
    + [(name, live * MIB, held * MIB) for name, live, held in MEASURED],
)
def test_each_run_lies_in_its_range(precision: str, live: float, held: float) -> None:
    low, high = on_a_gpu(precision, round(live))
    assert live < low <= held + MIB
    assert high >= held - MIB


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_is_less_certain_than_fp32(precision: str) -> None:
    low, high = on_a_gpu("fp32", GIB)
    lower, higher = on_a_gpu(precision, GIB)
    assert higher - lower > high - low


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
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


@pytest.mark.parametrize(
    "text", ["11", "GB", "11 GX", "-1GB", "0GB", "0.1B", "1e3GB", "", "1" * 40 + "GB", "2000000GiB"]
)
def test_other_memory_is_quoted_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=rf"size '{text}' \(--gpu-memory\): expected .* as 24GiB"):
        parse_memory(text)
