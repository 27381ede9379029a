"""Histograms of the values that half precision rounds in a training step, by module.

Figures 2 and 3 of Micikevicius et al. 2017 (arXiv 1710.03740), with gradients in unscaled units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch

from halftrack.precision.histogram import Histogram

__all__ = ["Ranges"]

ByModule = Mapping[str, Histogram]
_RATIO_THAT_LOSES = {torch.float16: 11, torch.bfloat16: 8}
"""Octaves between weight and update from which half weights would not change: 2048 and 256."""


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Histograms of values by module path, before they are rounded; ``+`` adds two steps.

    Paths are those of ``named_modules``; ops outside every submodule, such as losses, are under
    ``""``.
    """

    activations: ByModule = field(default_factory=dict)
    """Values that the forward pass rounded to half."""
    activation_gradients: ByModule = field(default_factory=dict)
    """Values that the backward pass rounded to half, divided by the loss scale, other than
    ``weight_gradients``."""
    weight_gradients: ByModule = field(default_factory=dict)
    """Gradients with the shape of a parameter of the module or within it, divided by the loss
    scale. Those of fp32 islands are never rounded and are left out."""
    updates: ByModule = field(default_factory=dict)
    """Changes of the weights by the optimizers."""
    update_ratios: ByModule = field(default_factory=dict)
    """Weight divided by update, for weights that changed. From 2048 (fp16) or 256 (bf16) on, a
    weight kept in half precision would not have changed."""

    @property
    def gradients(self) -> ByModule:
        """All gradients that the backward pass rounded to half, of activations and of weights."""
        return _joined(self.activation_gradients, self.weight_gradients)

    def near_overflow(self, octaves: int = 2) -> dict[str, int]:
        """Modules whose activations come within ``octaves`` of fp16's last octave, with headroom.

        The headroom counts the octaves up to 32768: 0 in the last one, negative if a value becomes
        infinite.
        """
        found = {path: histogram.headroom for path, histogram in self.activations.items()}
        return {path: room for path, room in found.items() if room is not None and room <= octaves}

    def lost_updates(self, dtype: torch.dtype = torch.float16) -> dict[str, float]:
        """Share of each module's updates that weights kept in ``dtype`` would lose.

        Raises:
            ValueError: unless it is fp16 or bf16.
        """
        if dtype not in _RATIO_THAT_LOSES:
            allowed = ", ".join(map(str, _RATIO_THAT_LOSES))
            raise ValueError(f"lost updates are known for {allowed}, got {dtype}")
        loses = _RATIO_THAT_LOSES[dtype]
        return {
            path: (ratios.at_least(loses) + ratios.infs) / ratios.total
            for path, ratios in self.update_ratios.items()
            if ratios.total
        }

    def __add__(self, other: Ranges) -> Ranges:
        both = ((each.name, getattr(other, each.name)) for each in fields(self))
        return Ranges(**{name: _joined(getattr(self, name), theirs) for name, theirs in both})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``from_dict`` takes them back."""
        return {
            each.name: {path: h.to_dict() for path, h in getattr(self, each.name).items()}
            for each in fields(self)
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The ranges that ``to_dict`` wrote.

        Raises:
            KeyError: if an entry is missing.
        """
        return cls(
            **{
                each.name: {path: Histogram.from_dict(h) for path, h in plain[each.name].items()}
                for each in fields(cls)
            }
        )


def _joined(mine: ByModule, theirs: ByModule) -> dict[str, Histogram]:
    none = Histogram()
    return {path: mine.get(path, none) + theirs.get(path, none) for path in {**mine, **theirs}}
