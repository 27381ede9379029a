"""Presentation: tables, curves, drawn frames, films and result files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.report.curves import plot_curves
    from halftrack.report.drawing import Trails, draw_detections, draw_tracks
    from halftrack.report.ope_curves import plot_ope_curves
    from halftrack.report.tables import published_row, render_table, write_csv
    from halftrack.report.track_files import JsonLinesWriter, MotTextWriter, TrackWriter
    from halftrack.report.video import VideoWriter

__all__ = [
    "JsonLinesWriter",
    "MotTextWriter",
    "TrackWriter",
    "Trails",
    "VideoWriter",
    "draw_detections",
    "draw_tracks",
    "plot_curves",
    "plot_ope_curves",
    "published_row",
    "render_table",
    "write_csv",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "curves": ("plot_curves",),
        "drawing": (
            "Trails",
            "draw_detections",
            "draw_tracks",
        ),
        "ope_curves": ("plot_ope_curves",),
        "tables": (
            "published_row",
            "render_table",
            "write_csv",
        ),
        "track_files": (
            "JsonLinesWriter",
            "MotTextWriter",
            "TrackWriter",
        ),
        "video": ("VideoWriter",),
    },
)
