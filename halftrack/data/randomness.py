"""Everything that is random in an epoch, a function of (seed, epoch, index) alone."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import numpy.typing as npt

__all__ = ["epoch_order", "sample_random"]


def epoch_order(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits its samples, from ``(seed, epoch)`` alone."""
    key = _hash("epoch order", seed, epoch)
    return np.random.Generator(np.random.Philox(key=key)).permutation(size)


def sample_random(seed: int, epoch: int, index: int) -> random.Random:
    """All chance of one sample, from ``(seed, epoch, index)`` alone."""
    return random.Random(_hash("sample", seed, epoch, index))


def _hash(purpose: str, *numbers: int) -> int:
    text = ":".join([purpose, *(str(int(number)) for number in numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
