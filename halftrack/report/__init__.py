"""What people see: tables, curves and drawn frames."""

from halftrack.report.curves import plot_curves, read_log
from halftrack.report.drawing import draw_detections
from halftrack.report.tables import published_row, render_table, write_csv

__all__ = [
    "draw_detections",
    "plot_curves",
    "published_row",
    "read_log",
    "render_table",
    "write_csv",
]
