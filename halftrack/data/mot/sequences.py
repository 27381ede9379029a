"""MOTChallenge sequences for testing: every frame of a split in order, with public detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from halftrack.data.annotated_image import require_size
from halftrack.data.images import prepare_frame
from halftrack.data.index_cache import contents_hash
from halftrack.data.mot.config import MotDetectionConfig
from halftrack.data.mot.mot_challenge import read_usable_mot
from halftrack.data.mot.records import MotRows, MotSequence, odd_counts
from halftrack.data.mot.scoring import lacking
from halftrack.data.prefetch import read_ahead
from halftrack.data.problems import DataError, SkipLedger, counted
from halftrack.frames import Frame

__all__ = ["MotSequences", "TestSequence"]


class TestSequence:
    """The frames of one sequence that belong to the split, and their ground truth."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(
        self,
        *,
        sequence: MotSequence,
        config: MotDetectionConfig,
        skipped: SkipLedger | None = None,
        threads: int = 2,
    ) -> None:
        self.record = sequence
        """Record that was read of the sequence."""
        self._config = config
        self._public = sequence.detections if config.public else None
        self._skipped = SkipLedger() if skipped is None else skipped
        self._threads = threads
        self.name = sequence.name
        """Name of its folder, which is also that of a results file."""
        self.frame_numbers = sequence.frame_numbers
        """Frames of the split, 1-based and counted in the whole sequence."""
        self.size = sequence.size
        """Original height and width of its images."""
        self.frame_rate = sequence.frame_rate
        """Frames a second."""
        self.truth: MotRows | None = sequence.truth
        """Ground truth of these frames, all its classes; None where none is published."""

    def __len__(self) -> int:
        return len(self.frame_numbers)

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, read ahead by threads; ``frame_index`` counts from 0.

        Bad frames, where they are skipped, are missing here: score only the frames that came.

        Raises:
            DataError: if an image cannot be used, unless bad ones are skipped.
        """
        return read_ahead(
            self._load,
            self.frame_numbers,
            threads=self._threads,
            on_bad_sample=self._config.on_bad_sample,
            skipped=self._skipped,
        )

    def path(self, frame_number: int) -> str:
        """Path of a frame's image."""
        return self.record.path(frame_number)

    def _load(self, frame_number: int) -> Frame:
        boxes_xyxy, labels = None, None
        if self._public is not None:
            # Clipped to the image with it, as the reference's resize does.
            public = self._public.in_frame(frame_number).boxes_xyxy
            boxes_xyxy = torch.from_numpy(public.astype(np.float32))
            labels = torch.zeros(len(public), dtype=torch.int64, device="cpu")
        path = self.record.path(frame_number)
        frame = prepare_frame(
            path,
            sample_id=self.record.sample_id(frame_number),
            frame_index=frame_number - self.frame_numbers.start,
            image_scale=self._config.image_scale,
            boxes_xyxy=boxes_xyxy,
            labels=labels,
        )
        width, height = (side / s for side, s in zip(frame.size[::-1], frame.scale_xy, strict=True))
        require_size(path, (round(height), round(width)), self.size, source=self.record.size_source)
        if boxes_xyxy is None:
            return frame
        none = frame.boxes_xyxy[:0]
        return replace(
            frame, public_xyxy=frame.boxes_xyxy, boxes_xyxy=none, labels=frame.labels[:0]
        )


class MotSequences:
    """The sequences of a split."""

    def __init__(
        self,
        *,
        sequences: Sequence[MotSequence],
        config: MotDetectionConfig,
        skipped: SkipLedger | None = None,
        threads: int = 2,
    ) -> None:
        self.names = tuple(sequence.name for sequence in sequences)
        """All sequences."""
        self.skipped = SkipLedger() if skipped is None else skipped
        """Ledger of what was left out so far."""
        lacks = lacking(sequences, truth=False, detections=config.public_source)
        for problem in lacks.values():
            raise DataError(problem.file, problem.reason)
        self._config = config
        odd = odd_counts(sequences)
        self.notes = (f"odd, but used: {counted(odd)}",) if odd else ()
        """A line on what looks odd in the files, if anything does."""
        self._sequences = tuple(
            TestSequence(
                sequence=sequence,
                config=config,
                skipped=self.skipped,
                threads=threads,
            )
            for sequence in sequences
        )

    @classmethod
    def open(
        cls,
        config: MotDetectionConfig,
        data_root: str | Path,
        *,
        threads: int = 2,
        scored: bool = False,
    ) -> MotSequences:
        """Open the test sequences of a configuration.

        Args:
            config: the split, image size and detections.
            data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
            threads: threads that read frames ahead; 0 reads on demand.
            scored: ground truth must be such that a tracker can be scored on it, or not be there.

        Raises:
            DataError: if something is missing or malformed.
        """
        skipped = SkipLedger()
        sequences = read_usable_mot(
            data_root,
            config.test_split,
            benchmark=config.benchmark,
            detectors=config.detectors,
            classes=config.classes,
            on_bad_sample=config.on_bad_sample,
            skipped=skipped,
            detections=config.public_source,
            json=config.test_json,
            scored=scored,
        )
        return cls(
            sequences=sequences,
            config=config,
            skipped=skipped,
            threads=threads,
        )

    def facts(self) -> dict[str, dict[str, int | str]]:
        """Sequences and frames, and a hash of the ground truth; a resumed run compares them."""
        tables = [each.truth for each in self._sequences if each.truth is not None]
        arrays = [getattr(rows, each.name) for rows in tables for each in fields(rows)]
        told = [each.record.facts() for each in self._sequences]
        return {
            f"{self._config.benchmark} {self._config.test_split}": {
                "sequences": len(self._sequences),
                "frames": self.num_frames,
                "ground truth": contents_hash(arrays, text=told),
            }
        }

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[TestSequence]:
        return iter(self._sequences)

    def __getitem__(self, position: int) -> TestSequence:
        return self._sequences[position]

    @property
    def num_frames(self) -> int:
        """Frames of the sequences together."""
        return sum(len(sequence) for sequence in self._sequences)
