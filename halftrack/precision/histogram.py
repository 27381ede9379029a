"""How a tensor's magnitudes spread over powers of two, counted exactly.

The histograms of figures 2 and 3 of Micikevicius et al. 2017 (arXiv 1710.03740), with the two edges
at which rounding to fp16 cuts through an octave, so that they answer for any loss scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["Histogram", "exponent_of"]

_COUNTED = (torch.float32, torch.float16, torch.bfloat16)
_CHUNK = 1 << 16  # values that stay in a core's cache while they are counted
_BIAS = 127
_TIE = -25
"""fp16 rounds 2^-25 itself to 0 (a tie, to even), and whatever is larger to 2^-24 or more."""
_TOP = 15
"""fp16's last octave; from 65520 = (2 - 2^-11) * 2^15 on it rounds to infinity."""


@dataclass(frozen=True)
class Histogram:
    """Values counted by ``floor(log2 |x|)``; ``+`` adds the counts of two.

    Only exponents that occur are listed.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    """Finite non-zero values of each exponent e: ``2^e <= |x| < 2^(e+1)``."""
    powers: Mapping[int, int] = field(default_factory=dict)
    """Of these, ``|x| = 2^e``."""
    tops: Mapping[int, int] = field(default_factory=dict)
    """Of these, ``|x| >= (2 - 2^-11) * 2^e``, which eleven bits round to ``2^(e+1)``."""
    zeros: int = 0
    """Exact zeros."""
    infs: int = 0
    """Infinities of either sign."""
    nans: int = 0
    """NaNs."""

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Count a tensor of any shape on any device (one host sync).

        Raises:
            TypeError: unless it is fp32, fp16 or bf16.
        """
        if values.dtype not in _COUNTED:
            allowed = ", ".join(str(dtype) for dtype in _COUNTED)
            raise TypeError(f"a histogram is of {allowed}, got {values.dtype}")
        # fp32 holds every half exactly, and its normal numbers the halves' subnormal ones.
        return cls._of_fp32(values.detach().float().reshape(-1))

    @classmethod
    def _of_fp32(cls, flat: Tensor) -> Self:
        octaves: dict[int, list[int]] = {0: [0, 0, 0], 255: [0, 0, 0]}
        found = _octaves(flat.view(torch.int32))
        occupied = found.nonzero().flatten()
        for place, count in zip(occupied.tolist(), found[occupied].tolist(), strict=True):
            octaves.setdefault(place // 3, [0, 0, 0])[place % 3] = count
        zeros, *subnormal = octaves.pop(0)
        infs, *nans = octaves.pop(255)
        histogram = cls(
            counts={e - _BIAS: sum(octave) for e, octave in octaves.items()},
            powers={e - _BIAS: power for e, (power, _, _) in octaves.items() if power},
            tops={e - _BIAS: top for e, (_, _, top) in octaves.items() if top},
            zeros=zeros,
            infs=infs,
            nans=sum(nans),
        )
        if not any(subnormal):
            return histogram
        # Subnormal numbers of fp32 have no exponent of their own until they are made larger.
        tiny = flat[(flat != 0) & (flat.abs() < 2.0**-126)]
        return histogram + cls._of_fp32(tiny * 2.0**64).shifted(-64)

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
        """Octaves between the largest value and fp16's last.

        0 within the last octave, negative where values overflow; None without any value.
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
        """Finite values that fp16 rounds to infinity once multiplied by ``scale``, likewise."""
        top = _TOP - exponent_of(scale)
        above = sum(count for e, count in self.counts.items() if e > top)
        return above + self.tops.get(top, 0)

    def at_least(self, exponent: int) -> int:
        """Finite values of ``2^exponent`` and more."""
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
        """Plain values that ``from_dict`` takes back, as JSON holds them."""
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


def exponent_of(scale: float) -> int:
    """The k of ``scale = 2^k``.

    Raises:
        ValueError: unless the scale is a power of two, by which alone exponents shift exactly.
    """
    fraction, exponent = math.frexp(scale)
    if fraction != 0.5:
        raise ValueError(f"scale {scale!r} is not a power of two, e.g. 512.0")
    return exponent - 1


def _octaves(bits: Tensor) -> Tensor:
    """int64 ``(256 * 3,)``: fp32 values of each exponent field by third of their octave.

    First the power of two itself, last what eleven bits round to the next. Zeros come out as the
    power of field 0, infinities as that of field 255.
    """
    # Elsewhere than on a CPU many small kernels would cost more than they save.
    size = _CHUNK if bits.device.type == "cpu" else max(len(bits), 1)
    found = torch.zeros(256 * 3, dtype=torch.int64, device=bits.device)
    for chunk in bits.split(size):
        # One NaN stands for all: the largest would run over below.
        magnitude = (chunk & 0x7FFFFFFF).clamp_(max=0x7F800001)
        # The field e of |x| thrice, of which the second is e - 1 at a power of two and the third
        # e + 1 where rounding carries: with 1 the sum is 3e, 3e + 1 or 3e + 2.
        places = (magnitude - 1).bitwise_right_shift_(23).add_(magnitude >> 23)
        places.add_(magnitude.add_(1 << 12).bitwise_right_shift_(23)).add_(1)
        found += torch.bincount(places, minlength=len(found))
    return found


def _sum(mine: Mapping[int, int], theirs: Mapping[int, int]) -> dict[int, int]:
    return {e: mine.get(e, 0) + theirs.get(e, 0) for e in {**mine, **theirs}}


def _shift(counts: Mapping[int, int], exponent: int) -> dict[int, int]:
    return {e + exponent: count for e, count in counts.items()}
