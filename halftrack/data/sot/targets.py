"""The sequences of a test split, each read ahead for a tracker that gives a box in every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from halftrack.boxes import start_box_fault
from halftrack.data.annotated_image import load_annotated_image
from halftrack.data.images import load_image
from halftrack.data.index_cache import contents_hash
from halftrack.data.prefetch import read_ahead
from halftrack.data.problems import DataError, Problem, SkipLedger
from halftrack.data.sot.sequences import FIRST_IMAGE, SotSequence
from halftrack.data.tables.target_text import Doubles

__all__ = ["TestTarget", "TestTargets", "partly_published", "untrackable"]


class TestTarget:
    """The frames of one sequence, for a tracker that gives a box in each."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(self, *, sequence: SotSequence, threads: int = 2) -> None:
        self.record = sequence
        """Record that was read of the sequence."""
        self.name = sequence.name
        """The benchmark's, which is also that of a results file."""
        self.first_box_xyxy: Doubles = sequence.first_box_xyxy
        """``(4,)`` what a tracker starts from."""
        self._threads = threads

    def __len__(self) -> int:
        return len(self.record)

    def frames(self) -> Iterator[Tensor]:
        """Every frame in order, uint8 RGB ``(3, height, width)`` at original size, read ahead.

        Grey-scale images are converted. None is skipped: the results need a box in each frame.

        Raises:
            DataError: if an image cannot be used, or has another size than the first.
        """
        size = self.record.size

        def load(frame_index: int) -> Tensor:
            path = self.record.path(frame_index)
            if size is None:  # The first image itself is at fault, and decoding it says how.
                return load_image(path)
            return load_annotated_image(path, size, source=FIRST_IMAGE)

        return read_ahead(
            load,
            range(len(self)),
            threads=self._threads,
            on_bad_sample="error",
            skipped=SkipLedger(),
        )


class TestTargets:
    """The sequences of a split."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(
        self,
        *,
        sequences: Sequence[SotSequence],
        threads: int = 2,
    ) -> None:
        for problem in untrackable(sequences):
            raise DataError(problem.file, problem.reason)
        self.names = tuple(sequence.name for sequence in sequences)
        """All sequences."""
        self._sequences = tuple(sequences)
        self._targets = tuple(
            TestTarget(sequence=sequence, threads=threads) for sequence in sequences
        )

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Sequences and frames, and a hash of the ground truth; a resumed run compares them."""
        arrays = [
            array
            for each in self._sequences
            for array in (each.first_box_xyxy, each.absent, each.boxes_xyxy)
            if array is not None
        ]
        told = [(each.name, each.numbers) for each in self._sequences]
        return {
            "the sequences": {
                "sequences": len(self._sequences),
                "frames": sum(len(each) for each in self._sequences),
                "ground truth": contents_hash(arrays, text=told),
            }
        }

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[TestTarget]:
        return iter(self._targets)

    def __getitem__(self, position: int) -> TestTarget:
        return self._targets[position]

    @property
    def num_frames(self) -> int:
        """Frames of the sequences together."""
        return sum(len(target) for target in self._targets)


def untrackable(sequences: Sequence[SotSequence]) -> tuple[Problem, ...]:
    """The problem of each sequence whose first box no tracker can start from.

    Of a sequence whose first image cannot be read nothing is said: that is the image's problem.
    """
    problems = []
    for each in sequences:
        size = each.size
        if size is None:
            continue
        fault = start_box_fault(torch.from_numpy(each.first_box_xyxy.astype(np.float32)), size)
        if fault is not None:
            reason = f"the first box, {each.first_box_xyxy.tolist()}, {fault}"
            problems.append(Problem(str(each.folder), reason))
    return tuple(problems)


def partly_published(sequences: Sequence[SotSequence]) -> tuple[Problem, ...]:
    """The problem of each sequence with its first box alone, where others have one in each frame.

    Where all have only their first there is none: results are then for a server.
    """
    alone = [each for each in sequences if each.boxes_xyxy is None]
    if len(alone) == len(sequences):
        return ()
    reason = "only its first box is here, though other sequences have one a frame to score with"
    return tuple(Problem(str(each.folder), reason) for each in alone)
