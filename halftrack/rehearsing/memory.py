"""Memory of a training step, as it is told: the peak, its kinds and its modules."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from halftrack.precision.sites import OUTERMOST
from halftrack.rehearsing.gpu import CONTEXT, on_a_gpu

__all__ = ["StepMemory", "folded", "shown_size"]


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """The peak of a training step in one precision."""

    precision: str
    """The precision's name."""
    peak: int
    """Live bytes."""
    by_kind: dict[str, int]
    """The same by kind."""
    by_module: dict[str, int]
    """Activations and cast weights among them, by the module that made them."""

    @property
    def on_a_gpu(self) -> tuple[int, int]:
        """Bytes that a GPU's allocator holds then, least and most, its context left out."""
        return on_a_gpu(self.precision, self.peak)

    def fits(self, gpu_memory: int) -> bool:
        """True if even the most that a GPU may need is there, its context included."""
        return self.on_a_gpu[1] + CONTEXT <= gpu_memory


def folded(by_module: dict[str, int]) -> dict[str, int]:
    """Sizes by the part of the path before its first number, in the order of the forward pass."""
    sizes: dict[str, int] = {}
    for path, size in by_module.items():
        names = itertools.takewhile(lambda name: not name.isdigit(), path.split("."))
        part = ".".join(names) or OUTERMOST
        sizes[part] = sizes.get(part, 0) + size
    return sizes


def shown_size(size: int) -> str:
    """Bytes as MiB, large ones as GiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"
