"""GPU memory beyond live bytes: its allocator's rounding, cuDNN's workspace, the context.

It comes from three training runs of MMTracking whose memory was published and whose live bytes are
known, and from fifteen steps of halftrack on one H200 (``benchmarks/gpu.md``). They are too few to
tell a share of the live bytes from a constant: it may be either.
"""

from __future__ import annotations

import re

from halftrack.bounds import shown
from halftrack.errors import UserError

__all__ = ["CONTEXT", "live_that_fits", "on_a_gpu", "parse_memory"]

MIB = 2**20
CONTEXT = 819 * MIB
"""Bytes set aside for the driver and its kernels: 773 to 791 MiB on the H200, 0.8 GiB here."""
# MiB, live and then in torch's allocator. Published of MMTracking: SELSA R50, and in fp32 SiamRPN++
# R50 at 28 pairs, thawed, its live bytes predicted (at 8 pairs prediction and reference agree). The
# figures are taken for GiB of torch's max_memory_allocated: read as 1e9 bytes, SiamRPN++ would have
# held less than its tensors. Measured: SELSA, MOT17's detector, ReID, SiamRPN++ frozen and thawed.
_FP32 = (
    *((2980, 3574), (7383, 7721)),
    *((2066, 2144), (1686, 1725), (1947, 2004), (1693, 1725), (7379, 7434)),
)
_HALF = (
    (1874, 2775),
    *((1374, 1396), (1036, 1083), (1147, 1163), (1384, 1421), (4313, 4379)),  # bf16
    *((1374, 1399), (1036, 1085), (1147, 1166), (1384, 1425), (4313, 4379)),  # fp16
)
_KNOWN = {"fp32": _FP32, "tf32": _FP32, "bf16": _HALF, "fp16": _HALF}
_MOST = 10**6 * 2**30  # bytes
_UNITS = {"B": 1, "MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}


def on_a_gpu(precision: str, live: int) -> tuple[int, int]:
    """Bytes of a GPU's allocator, least and most, where tensors hold ``live``; no context.

    Args:
        precision: fp32, tf32, which holds what fp32 holds, bf16 or fp16. No bf16 run was published:
            the two halves share their range.
        live: bytes.
    """
    readings = [
        reading
        for before, after in _KNOWN[precision]
        for reading in (live * after / before, live + (after - before) * MIB)
    ]
    return round(min(readings)), round(max(readings))


def live_that_fits(precision: str, gpu_memory: int) -> float:
    """The most live bytes with which even the most of ``on_a_gpu`` fits beside the context."""
    room = gpu_memory - CONTEXT
    return min(
        reading
        for before, after in _KNOWN[precision]
        for reading in (room * before / after, room - (after - before) * MIB)
    )


def parse_memory(text: str, option: str = "--gpu-memory") -> int:
    """Bytes of e.g. ``11GB`` (1e9 bytes each) or ``24GiB``.

    Args:
        text: the size.
        option: that it was given with, for the error.

    Raises:
        ValueError: if it is none; says what is allowed.
    """
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]+)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    size = float(match[1]) * unit if match and unit else 0.0
    if not 1 <= size <= _MOST:
        raise UserError(
            f"size {shown(text)} ({option}): expected a number and MB, GB, MiB or GiB, "
            "as 24GiB, at most 1000000GiB"
        )
    return int(size)
