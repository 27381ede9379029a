"""What a GPU holds beyond live bytes: its allocator's rounding, cuDNN's workspace, the context.

Nobody measured it here. It comes from three training runs whose memory was published and whose live
bytes are known, too few to tell a share of the live bytes from a constant: it may be either.
"""

from __future__ import annotations

import re

__all__ = ["CONTEXT", "live_that_fits", "on_a_gpu", "parse_memory"]

GIB = 2**30
CONTEXT = GIB // 2
"""Bytes set aside for the driver's context, which published figures leave out: an assumption."""
# Live and published GiB of MMTracking's steps; SiamRPN++'s live bytes are predicted (at 8 pairs
# prediction and reference agree). Published is taken for torch's max_memory_allocated in GiB: read
# as 1e9 bytes, SiamRPN++ would have held less than its tensors.
_FP32 = ((2.91, 3.49), (7.21, 7.54))  # SELSA R50, SiamRPN++ R50 at 28 pairs, thawed
_FP16 = ((1.83, 2.71),)  # SELSA R50
_PUBLISHED = {"fp32": _FP32, "bf16": _FP32 + _FP16, "fp16": _FP32 + _FP16}
_UNITS = {"B": 1, "MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}


def on_a_gpu(precision: str, live: int) -> tuple[int, int]:
    """Bytes of a GPU's allocator, least and most, where tensors hold ``live``; no context.

    Args:
        precision: fp32, bf16 or fp16. One run was published in fp16 and none in bf16: their range
            takes in that of fp32.
        live: bytes.
    """
    readings = [
        reading
        for before, after in _PUBLISHED[precision]
        for reading in (live * after / before, live + (after - before) * GIB)
    ]
    return round(min(readings)), round(max(readings))


def live_that_fits(precision: str, gpu_memory: int) -> float:
    """The most live bytes with which even the most of ``on_a_gpu`` fits beside the context."""
    room = gpu_memory - CONTEXT
    return min(
        reading
        for before, after in _PUBLISHED[precision]
        for reading in (room * before / after, room - (after - before) * GIB)
    )


def parse_memory(text: str) -> int:
    """Bytes of e.g. ``11GB`` (1e9 bytes each) or ``24GiB``.

    Raises:
        ValueError: if it is none; says what is allowed.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or not float(match[1]):
        raise ValueError(f"GPU memory {text!r}: expected a number and MB, GB, MiB or GiB, as 24GiB")
    return int(float(match[1]) * unit)
