"""Data that the tasks share; a folder a task (``vid``, ``mot``, ``sot``) reads its own layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.data.images import load_image
    from halftrack.data.index import Classes, VideoIndex
    from halftrack.data.ordered_batches import OrderedBatches
    from halftrack.data.problems import DataError, Problem, SkipLedger
    from halftrack.data.progress import PrintedProgress, Progress
    from halftrack.data.video_source import SourceFrame, VideoSource, open_video

__all__ = [
    "Classes",
    "DataError",
    "OrderedBatches",
    "PrintedProgress",
    "Problem",
    "Progress",
    "SkipLedger",
    "SourceFrame",
    "VideoIndex",
    "VideoSource",
    "load_image",
    "open_video",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "images": ("load_image",),
        "index": (
            "Classes",
            "VideoIndex",
        ),
        "ordered_batches": ("OrderedBatches",),
        "problems": (
            "DataError",
            "Problem",
            "SkipLedger",
        ),
        "progress": (
            "PrintedProgress",
            "Progress",
        ),
        "video_source": (
            "SourceFrame",
            "VideoSource",
            "open_video",
        ),
    },
)
