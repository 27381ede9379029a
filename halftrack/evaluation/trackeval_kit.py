"""TrackEval, the official MOTChallenge kit, run on tables in a folder."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halftrack.errors import UserError

__all__ = ["run_trackeval", "write_table"]


def write_table(
    path: Path,
    frame_numbers: NDArray[np.int64],
    ids: NDArray[np.int64],
    boxes_xyxy: NDArray[np.float64],
    tail: NDArray[np.generic],
) -> None:
    """Write MOTChallenge's columns; ``tail`` ``(n, k)`` holds those behind the box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # TrackEval indexes arrays with ids: negative ones would collide, huge ones fill the memory.
    _, small_ids = np.unique(ids, return_inverse=True)
    sizes = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    table = np.column_stack([frame_numbers, small_ids + 1, boxes_xyxy[:, :2], sizes, tail])
    # 12 digits: a width comes out as it stood in the file it was read from, not as the rounding
    # of x1 + width - x1 left it, and TrackEval scores the very numbers it would read there.
    np.savetxt(path, table, fmt="%.12g", delimiter=",")


def run_trackeval(
    folder: Path, lengths: dict[str, int], *, benchmark: str, preprocess: bool
) -> dict[str, Any]:
    """Run TrackEval without files and prints; its numbers by sequence, class and metric."""
    import trackeval  # here, for it imports scipy: results are read and checked without it

    silent = {"PRINT_CONFIG": False}
    data = {
        **silent,
        "GT_FOLDER": str(folder / "truth"),
        "GT_LOC_FORMAT": "{gt_folder}/{seq}.txt",
        "TRACKERS_FOLDER": str(folder / "trackers"),
        "TRACKERS_TO_EVAL": ["it"],
        "TRACKER_SUB_FOLDER": "",
        "BENCHMARK": benchmark,
        "DO_PREPROC": preprocess,
        "SEQ_INFO": lengths,
        "SKIP_SPLIT_FOL": True,
    }
    outputs = ("OUTPUT_SUMMARY", "OUTPUT_EMPTY_CLASSES", "OUTPUT_DETAILED", "PLOT_CURVES")
    evaluation = {
        **silent,
        **dict.fromkeys((*outputs, "PRINT_RESULTS", "TIME_PROGRESS", "USE_PARALLEL"), False),
        "BREAK_ON_ERROR": True,
        "LOG_ON_ERROR": None,  # unset, it is a file beside the installed package
    }
    # Each family fills in the dict it is given, so each gets its own.
    metrics = [
        trackeval.metrics.HOTA(),
        trackeval.metrics.CLEAR(dict(silent)),
        trackeval.metrics.Identity(dict(silent)),
    ]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            kit = trackeval.datasets.MotChallenge2DBox(data)
            scored, _ = trackeval.Evaluator(evaluation).evaluate([kit], metrics)
    except trackeval.utils.TrackEvalException as error:
        raise UserError(f"TrackEval cannot score this: {error}") from error
    found: dict[str, Any] = scored["MotChallenge2DBox"]["it"]
    return found
