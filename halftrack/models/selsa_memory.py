"""Keys and values that SELSA's references lend to the frames of a video, kept between the frames.

Shapes: keys and values ``(heads, m, d / heads)`` over m rois.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from torch import Tensor

from halftrack.frames import Clip

__all__ = ["Memory", "Shares", "StreamMemory", "shares_of", "split_memory"]

Memory = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of rois, for each of the shared FCs."""
Shares = tuple[Sequence[int], Sequence[int]]
"""Numbers of rois and of reference rois of each clip of a pass."""


def split_memory(memory: Memory, counts: Sequence[int]) -> list[Memory]:
    """Keys and values of the rois of several frames, apart for each frame."""
    layers = [
        zip(keys.split(counts, dim=1), values.split(counts, dim=1), strict=True)
        for keys, values in memory
    ]
    return list(zip(*layers, strict=True))


class StreamMemory:
    """The references' keys and values, with room behind them for the key frame's own."""

    def __init__(self, memory: Memory, room: int) -> None:
        self._references = memory[0][0].shape[1]
        self._buffers = [tuple(self._with_room(part, room) for part in layer) for layer in memory]

    @staticmethod
    def _with_room(part: Tensor, room: int) -> Tensor:
        heads, length, width = part.shape
        buffer = part.new_empty((heads, length + room, width))
        buffer[:, :length] = part
        return buffer

    def with_key_frame(self, memory: Memory) -> Memory:
        """All keys and values; the references' are not copied."""
        end = self._references + memory[0][0].shape[1]
        joined = []
        for buffers, own in zip(self._buffers, memory, strict=True):
            for buffer, part in zip(buffers, own, strict=True):
                buffer[:, self._references : end] = part
            joined.append((buffers[0][:, :end], buffers[1][:, :end]))
        return tuple(joined)


def shares_of(clips: Sequence[Clip], rois: Sequence[int], references: Sequence[Tensor]) -> Shares:
    """Numbers of rois and of reference rois of each clip of a pass.

    Args:
        clips: of the pass.
        rois: number of each key frame's.
        references: rois ``(k, 4)`` of each reference frame, clip after clip.
    """
    counts = iter(map(len, references))
    return rois, [sum(islice(counts, len(clip.references))) for clip in clips]
