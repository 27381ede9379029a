"""Exact histograms of a tensor's magnitudes over powers of two.

The histograms of figures 2 and 3 of Micikevicius et al. 2017 (arXiv 1710.03740), with the two edges
at which rounding to fp16 cuts through an octave, so that they answer for any loss scale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halftrack.precision.dtypes import HALF
from halftrack.precision.errors import PrecisionError

__all__ = ["Histogram", "HistogramCounter", "exponent_of"]

Key = TypeVar("Key")
Counts = NDArray[np.int64]

_COUNTED = (torch.float32, *HALF)
_CHUNK = 1 << 15  # values that stay in a core's cache while they are counted
_BIAS = 127
_THIRDS = 256 * 3
_CARRY = 1 + (1 << 11)
"""Carries from the last of eleven bits into the exponent, to which it adds 1 besides."""
_LANES = 4  # neighbours are counted apart: a core waits to add to what it has just added to
_CARRY_IN_LANES = (_CARRY + np.arange(_CHUNK) % _LANES * (_THIRDS << 11)).astype(np.int32)
_TIE = -25
"""fp16 rounds 2^-25 itself to 0 (a tie, to even), and whatever is larger to 2^-24 or more."""
_TOP = 15
"""fp16's last octave; from 65520 = (2 - 2^-11) * 2^15 on it rounds to infinity."""


@dataclass(frozen=True)
class Histogram:
    """Counts of values by ``floor(log2 |x|)``; ``+`` adds two histograms.

    Only exponents that occur are listed::

        histogram = Histogram.of(torch.tensor([1.0, 1.5, -3.0, 0.0]))
        print(dict(histogram.counts), histogram.zeros)  # {0: 2, 1: 1} 1
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    """Finite non-zero values of each exponent e: ``2^e <= |x| < 2^(e+1)``."""
    powers: Mapping[int, int] = field(default_factory=dict)
    """Values among ``counts`` that equal a power of two: ``|x| = 2^e``."""
    tops: Mapping[int, int] = field(default_factory=dict)
    """Values among ``counts`` with ``|x| >= (2 - 2^-11) * 2^e``, which eleven bits round to
    ``2^(e+1)``."""
    zeros: int = 0
    """Exact zeros."""
    infs: int = 0
    """Infinities of either sign."""
    nans: int = 0
    """NaNs."""

    @staticmethod
    def of(values: Tensor) -> Histogram:
        """Count a tensor of any shape on any device (one host sync).

        Raises:
            TypeError: unless it is fp32, fp16 or bf16.
        """
        counter: HistogramCounter[None] = HistogramCounter()
        counter.count(None, values)
        return counter.histograms()[None]

    @property
    def nonzero(self) -> int:
        """Finite values that are not 0."""
        return sum(self.counts.values())

    @property
    def total(self) -> int:
        """Values of every kind."""
        return self.nonzero + self.zeros + self.nonfinite

    @property
    def nonfinite(self) -> int:
        """Infinities and NaNs."""
        return self.infs + self.nans

    @property
    def headroom(self) -> int | None:
        """Octaves between the largest value and the last octave of fp16.

        0 within the last octave, negative if values overflow, None if there are no values.
        """
        if not self.counts:
            return None
        over = self.becomes_inf() > 0
        return min(_TOP - max(self.counts), -1) if over else _TOP - max(self.counts)

    def becomes_zero(self, scale: float = 1.0) -> int:
        """Non-zero values that fp16 rounds to 0 once multiplied by ``scale``, a power of two."""
        edge = _TIE - exponent_of(scale)
        below = sum(count for e, count in self.counts.items() if e < edge)
        return below + self.powers.get(edge, 0)

    def becomes_inf(self, scale: float = 1.0) -> int:
        """Finite values that fp16 rounds to infinity once multiplied by a ``scale`` of ``2^k``."""
        top = _TOP - exponent_of(scale)
        above = sum(count for e, count in self.counts.items() if e > top)
        return above + self.tops.get(top, 0)

    def at_least(self, exponent: int) -> int:
        """Finite values with ``|x| >= 2^exponent``."""
        return sum(count for e, count in self.counts.items() if e >= exponent)

    def shifted(self, exponent: int) -> Self:
        """The histogram of the same values times ``2^exponent``."""
        return replace(
            self,
            counts=_shift(self.counts, exponent),
            powers=_shift(self.powers, exponent),
            tops=_shift(self.tops, exponent),
        )

    def __add__(self, other: Histogram) -> Self:
        return type(self)(
            counts=_sum(self.counts, other.counts),
            powers=_sum(self.powers, other.powers),
            tops=_sum(self.tops, other.tops),
            zeros=self.zeros + other.zeros,
            infs=self.infs + other.infs,
            nans=self.nans + other.nans,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``from_dict`` takes them back."""
        return {
            each.name: {str(e): value[e] for e in sorted(value)}
            if isinstance(value := getattr(self, each.name), Mapping)
            else value
            for each in fields(self)
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The histogram that ``to_dict`` wrote.

        Raises:
            KeyError: if an entry is missing.
        """
        octaves = {
            name: {int(e): count for e, count in plain[name].items()}
            for name in ("counts", "powers", "tops")
        }
        return cls(**octaves, zeros=plain["zeros"], infs=plain["infs"], nans=plain["nans"])


class HistogramCounter(Generic[Key]):
    """Counts tensors by key; reading all keys at once is cheap."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Key, int], Counts] = defaultdict(_no_counts)

    def count(self, key: Key, values: Tensor, *, exponent: int = 0) -> None:
        """Add ``values / 2^exponent``, a tensor of any shape on any device (one host sync).

        Raises:
            TypeError: unless it is fp32, fp16 or bf16.
        """
        if values.dtype not in _COUNTED:
            allowed = ", ".join(str(dtype) for dtype in _COUNTED)
            raise TypeError(f"a histogram counts tensors of {allowed}, got {values.dtype}")
        # fp32 holds every half exactly, and its normal numbers the halves' subnormal ones.
        flat = values.detach().float().reshape(-1)
        lanes = self._counts[key, exponent]
        _count(flat, lanes)
        subnormal = lanes[:, 1:3]
        if subnormal.any():
            # Subnormal numbers of fp32 have no exponent of their own until they are made larger.
            subnormal.fill(0)
            tiny = flat[(flat != 0) & (flat.abs() < 2.0**-126)]
            self.count(key, tiny * 2.0**64, exponent=exponent + 64)

    def histograms(self) -> dict[Key, Histogram]:
        """The histogram of each key so far."""
        exponents = [exponent for _, exponent in self._counts]
        lanes = np.array(list(self._counts.values())).reshape(-1, _LANES, 256, 3)
        thirds = lanes.sum(axis=1)
        zeros = thirds[:, 0, 0].tolist()
        infs, *nans = thirds[:, 255].T.tolist()
        thirds[:, [0, 255]] = 0
        first, middle, last = (thirds[:, :, third] for third in range(3))
        counts = _by_exponent(first + middle + last, exponents)
        powers = _by_exponent(first, exponents)
        tops = _by_exponent(last, exponents)
        found: dict[Key, Histogram] = {}
        for row, (key, _) in enumerate(self._counts):
            histogram = Histogram(
                counts=counts[row],
                powers=powers[row],
                tops=tops[row],
                zeros=zeros[row],
                infs=infs[row],
                nans=sum(each[row] for each in nans),
            )
            found[key] = found[key] + histogram if key in found else histogram
        return found


def exponent_of(scale: float) -> int:
    """The exponent k of ``scale = 2^k``.

    Raises:
        ValueError: unless the scale is a power of two, by which alone exponents shift exactly.
    """
    fraction, exponent = math.frexp(scale)
    if fraction != 0.5:
        raise PrecisionError(f"scale {scale!r} is not a power of two, e.g. 512.0")
    return exponent - 1


def _count(flat: Tensor, lanes: Counts) -> None:
    """Add the count of each third of an octave in fp32 values to ``(_LANES, _THIRDS)``."""
    bits = flat.view(torch.int32)
    if bits.device.type != "cpu":
        lanes[0] += torch.bincount(_thirds(bits, _CARRY), minlength=_THIRDS).cpu().numpy()
        return
    # NumPy starts a small operation in a third of torch's time, and one core is enough for them.
    array, places = bits.numpy(), lanes.reshape(-1)
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        thirds = torch.from_numpy(_thirds(chunk, _CARRY_IN_LANES[: len(chunk)]))
        places += torch.bincount(thirds, minlength=len(places)).numpy()


def _thirds(bits: Any, carry: Any) -> Any:
    """The third of an octave that each value lies in, 3e and up for the exponent e.

    First the power of two itself, last what eleven bits round to the next. Exponents are as they
    are kept, 0 to 255: zeros come out as the power of 0, infinities as that of 255.

    Args:
        bits: int32 of fp32 values, an array or a tensor.
        carry: ``_CARRY``, or an array that adds an offset to each result too.
    """
    magnitude = bits & 0x7FFFFFFF
    # The exponent of |x| thrice, of which the first is e - 1 at a power of two and the last e + 1
    # where rounding carries: with 1 the sum is 3e, 3e + 1 or 3e + 2.
    thirds = magnitude - 1
    thirds >>= 23
    magnitude >>= 12  # what rounding looks at, with room for its carry
    thirds += magnitude >> 11
    magnitude += carry
    magnitude >>= 11
    thirds += magnitude
    return thirds


def _no_counts() -> Counts:
    return np.zeros((_LANES, _THIRDS), dtype=np.int64)


def _by_exponent(table: Counts, exponents: list[int]) -> list[dict[int, int]]:
    """Non-zero counts by exponent, a dict for each row of an ``(N, 256)`` table."""
    rows: list[dict[int, int]] = [{} for _ in exponents]
    where = table.nonzero()
    for row, place, number in zip(*map(np.ndarray.tolist, (*where, table[where])), strict=True):
        rows[row][place - _BIAS - exponents[row]] = number
    return rows


def _sum(mine: Mapping[int, int], theirs: Mapping[int, int]) -> dict[int, int]:
    return {e: mine.get(e, 0) + theirs.get(e, 0) for e in {**mine, **theirs}}


def _shift(counts: Mapping[int, int], exponent: int) -> dict[int, int]:
    return {e + exponent: count for e, count in counts.items()}
