"""Public detections from MMTracking's ``*_detections.pkl``, in the place of ``det/det.txt``.

The file that its mot2coco writes: for each image's path below the split's folder a list with an
array ``(n, 5)`` of x1, y1, x2, y2 and score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halftrack.data.files import shortened
from halftrack.data.mot.records import MotRows, MotSequence
from halftrack.data.mot.tables import has_area
from halftrack.data.problems import DataError
from halftrack.errors import UserError
from halftrack.pickles import read_arrays

__all__ = ["PickledDetections"]


class PickledDetections:
    """The detections of a file, by sequence.

    Raises:
        DataError: if the file is missing, damaged, holds more than arrays, or is none of these.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            state = read_arrays(file)
        except UserError as error:
            raise DataError(str(file), str(error).removeprefix(f"{file} ")) from error
        images = state.get("det_bboxes", state) if isinstance(state, Mapping) else None
        if not isinstance(images, Mapping) or not all(isinstance(name, str) for name in images):
            reason = "expected det_bboxes with a list of arrays for each image's path"
            raise DataError(str(file), reason)
        self._images: Mapping[str, Any] = images

    def rows(self, sequence: MotSequence) -> tuple[MotRows, dict[str, int]] | None:
        """Detections in a sequence's frames and counts of what is odd; None if it names no frame.

        Raises:
            DataError: if an array is not of boxes and scores; names the image.
        """
        found = list(self._arrays(sequence))
        if not found:
            return None
        numbers = np.repeat([number for number, _ in found], [len(boxes) for _, boxes in found])
        values = np.concatenate([boxes for _, boxes in found])
        ltwh = np.concatenate([values[:, :2], values[:, 2:4] - values[:, :2]], axis=1)
        ones = np.ones(len(values))
        rows = MotRows(
            frame_numbers=numbers.astype(np.int64),
            ids=-ones.astype(np.int64),
            boxes_ltwh=ltwh,
            flags=np.ones(len(values), dtype=np.bool_),
            classes=ones.astype(np.int64),
            visibility=ones,
            scores=values[:, 4],
        )
        usable = has_area(ltwh, sequence.size)
        odd = Counter(
            {"public detections without area in their image, left out": int((~usable).sum())}
        )
        return (rows if usable.all() else rows.select(usable)), +odd

    def _arrays(self, sequence: MotSequence) -> Iterator[tuple[int, Any]]:
        """Number and boxes of each frame that the file names."""
        for number in sequence.frame_numbers:
            name = sequence.image_name(number)
            if name not in self._images:
                continue
            given = self._images[name]
            # One array a class: pedestrians are the first, and the only one.
            boxes = given[0] if isinstance(given, list | tuple) and len(given) == 1 else given
            if (
                not isinstance(boxes, np.ndarray)
                or boxes.ndim != 2
                or boxes.dtype.kind not in "fiu"
            ):
                raise DataError(str(self.file), f"{shortened(name)}: expected one array of numbers")
            if boxes.shape[1] != 5 and boxes.size:
                told = f"{boxes.shape[1]} columns, expected x1, y1, x2, y2, score"
                raise DataError(str(self.file), f"{shortened(name)}: {told}")
            boxes = boxes.astype(np.float64).reshape(-1, 5)
            ends = boxes[:, 2:4] >= boxes[:, :2]
            if not (np.isfinite(boxes).all() and np.abs(boxes).max(initial=0) < 1e6 and ends.all()):
                told = "a box that is not finite, or ends before it begins"
                raise DataError(str(self.file), f"{shortened(name)}: {told}")
            yield number, boxes
