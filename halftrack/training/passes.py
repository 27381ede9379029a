"""Passes of a training step that takes several clips of one size at once."""

from __future__ import annotations

from collections.abc import Sequence

from halftrack.errors import UserError
from halftrack.frames import Clip, ClipBatch
from halftrack.training.batches import Batch

__all__ = ["Pass", "passes"]

Pass = tuple[Batch, int]
"""The batch of one forward and backward pass, and the seed of its random draws."""


def passes(step: Sequence[Pass], clips_per_pass: int) -> list[Pass]:
    """The passes of a step: up to so many of its clips, all of one size, in each.

    Clips of other sizes go apart: padded to a common one they would teach something else, and need
    more memory than was planned.

    Raises:
        UserError: if batches that are no clips are to share a pass.
    """
    by_size: dict[tuple[int, int], list[tuple[Clip, int]]] = {}
    for batch, seed in step:
        if not isinstance(batch, Clip):
            raise UserError(
                f"training.clips_per_pass={clips_per_pass}: a {type(batch).__name__} is no clip; "
                "expected 1"
            )
        by_size.setdefault(batch.size, []).append((batch, seed))
    found: list[Pass] = []
    for alike in by_size.values():
        for start in range(0, len(alike), clips_per_pass):
            clips, seeds = zip(*alike[start : start + clips_per_pass], strict=True)
            found.append((ClipBatch(clips=clips, seeds=seeds), seeds[0]))
    return found
