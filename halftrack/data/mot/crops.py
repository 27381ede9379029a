"""The people of MOTChallenge sequences for re-identification: which boxes of them make crops.

Must agree with MMTracking 0.14's mot2reid: which crops, and their edges.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halftrack.data.index import Integers
from halftrack.data.index_cache import contents_hash
from halftrack.data.mot.config import MotSplit, ReIDDataConfig
from halftrack.data.mot.mot_challenge import read_usable_mot
from halftrack.data.mot.records import MotRows, MotSequence, learned_rows
from halftrack.data.problems import DataError, SkipLedger

__all__ = ["Crops", "Identity", "crops_of", "find_identities", "read_crops"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Identity:
    """One individual of one sequence, in all its boxes that make a crop."""

    sequence: int
    """Position of the sequence among those given."""
    number: int
    """The individual's id in the sequence."""
    frame_numbers: Integers
    """``(n,)`` frame of each crop, 1-based."""
    edges_xyxy: Integers
    """``(n, 4)`` first and last column and row of each crop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Crops of the individuals of one or more sequences, the crops of each in one piece."""

    sequences: tuple[MotSequence, ...]
    """Sequences that the crops are cut from."""
    sequence: Integers
    """``(n,)`` position in ``sequences``."""
    frame_numbers: Integers
    """``(n,)`` 1-based."""
    edges_xyxy: Integers
    """``(n, 4)`` first and last column and row, both inside the image and part of the crop."""
    labels: Integers
    """``(n,)`` individual, 0-based in the order of ``names``, sorted."""
    names: tuple[str, ...]
    """Sequence and id of each individual, e.g. ``MOT17-02-FRCNN/3``."""
    rare: int = 0
    """Individuals left out for having too few crops."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        """Number of individuals."""
        return len(self.names)

    def facts(self) -> dict[str, int | str]:
        """Sequences, individuals and crops, and a hash of where these are cut."""
        arrays = (self.sequence, self.frame_numbers, self.edges_xyxy, self.labels)
        told = (self.names, [(each.name, each.size) for each in self.sequences])
        return {
            "sequences": len(self.sequences),
            "individuals": self.num_identities,
            "crops": len(self),
            "ground truth": contents_hash(arrays, text=told),
        }

    def span(self, label: int) -> tuple[int, int]:
        """First crop of an individual and the one after its last."""
        first, stop = np.searchsorted(self.labels, [label, label + 1])
        return int(first), int(stop)

    def sample_id(self, crop: int) -> str:
        """A crop's name in logs and errors, e.g. ``MOT17-02-FRCNN/img1/000008/3``."""
        frame = self.sequences[self.sequence[crop]].sample_id(int(self.frame_numbers[crop]))
        return f"{frame}/{self.names[self.labels[crop]].rpartition('/')[2]}"

    def by_frame(self) -> dict[tuple[int, int], list[int]]:
        """The crops of each (sequence, frame number), frames in order."""
        order = np.lexsort((self.frame_numbers, self.sequence))
        groups: dict[tuple[int, int], list[int]] = {}
        for crop in order.tolist():
            place = (int(self.sequence[crop]), int(self.frame_numbers[crop]))
            groups.setdefault(place, []).append(crop)
        return groups


def read_crops(
    config: ReIDDataConfig,
    data_root: str | Path,
    *,
    validation: bool = False,
    skipped: SkipLedger | None = None,
) -> Crops:
    """Read the crops of a configuration that are trained on, or those for validation.

    The labels of the two count individuals of their own.

    Args:
        config: the split, and the boxes and individuals that count.
        data_root: the folder that contains e.g. ``MOT17``, or ``MOT17`` itself.
        validation: the crops for retrieval instead of those to learn from.
        skipped: told which sequences were left out, where the configuration skips bad ones.

    Raises:
        DataError: if something is missing or malformed, or no individual has crops enough.
    """
    frames: MotSplit = "train"
    if config.split == "half-train":
        frames = "half-val" if validation else "half-train"
    sequences = read_usable_mot(
        data_root,
        frames,
        benchmark=config.benchmark,
        detectors=config.detectors,
        on_bad_sample=config.on_bad_sample,
        skipped=SkipLedger() if skipped is None else skipped,
        truth=True,
    )
    identities = find_identities(
        sequences, min_visibility=config.min_visibility, flag_zero=config.train_flag_zero
    )
    if config.split == "whole-train":
        # mot2reid divides before it drops individuals with too few crops.
        trained = int(len(identities) * (1 - config.validation_share))
        identities = identities[trained:] if validation else identities[:trained]
    crops = crops_of(sequences, identities, min_crops=config.min_crops, max_crops=config.max_crops)
    if crops.num_identities == 0:
        folders = ", ".join(str(sequence.folder) for sequence in sequences)
        which = "validation" if validation else "training"
        raise DataError(
            folders,
            f"no individual with min_crops={config.min_crops} boxes of "
            f"min_visibility={config.min_visibility} for {which}",
        )
    if validation and len(crops) == crops.num_identities:
        raise DataError(
            ", ".join(str(sequence.folder) for sequence in crops.sequences),
            f"each of the {len(crops)} crops for validation shows another individual; expected "
            f"one in two crops at least (min_crops={config.min_crops}, "
            f"max_crops={config.max_crops})",
        )
    return crops


def find_identities(
    sequences: Sequence[MotSequence], *, min_visibility: float, flag_zero: bool = False
) -> list[Identity]:
    """The individuals with at least one crop, sorted by sequence and id.

    A crop's edges are the box's, rounded towards zero, moved into the image and both included, as
    mmcv's imcrop has them. Boxes that do not touch their image make none, unlike in mot2reid.

    Args:
        sequences: with ground truth.
        min_visibility: boxes of which a smaller share can be seen are left out.
        flag_zero: pedestrians with flag 0 make crops too.

    Raises:
        DataError: if a sequence has no ground truth.
    """
    identities = []
    for position, sequence in enumerate(sequences):
        rows, _ = learned_rows(sequence, flag_zero=flag_zero)
        rows = rows.select(rows.visibility >= min_visibility)
        for number in np.unique(rows.ids).tolist():
            own = rows.select(rows.ids == number)
            identities.append(
                Identity(
                    sequence=position,
                    number=number,
                    frame_numbers=own.frame_numbers,
                    edges_xyxy=_edges(own, sequence.size),
                )
            )
    return identities


def crops_of(
    sequences: Sequence[MotSequence],
    identities: Sequence[Identity],
    *,
    min_crops: int,
    max_crops: int,
) -> Crops:
    """The crops of those individuals that have enough of them.

    Args:
        sequences: what ``Identity.sequence`` counts.
        identities: in label order, those left out not counted.
        min_crops: individuals with fewer are left out.
        max_crops: most crops of an individual. Of more than these some are drawn from the
            individual's name, not in mot2reid's way, whose choice follows from the order in which
            a file system lists files.
    """
    kept: list[Identity] = []
    names: list[str] = []
    chosen: list[Integers] = []
    for identity in identities:
        total = len(identity.frame_numbers)
        if total < min_crops:
            continue
        name = f"{sequences[identity.sequence].name}/{identity.number}"
        rows = np.arange(total)
        if total > max_crops:
            rows = np.array(sorted(random.Random(name).sample(range(total), max_crops)))
        kept.append(identity)
        names.append(name)
        chosen.append(rows)
    counts = [len(rows) for rows in chosen]
    none = np.empty(0, dtype=np.int64)
    pairs = list(zip(kept, chosen, strict=True))
    frame_numbers = [identity.frame_numbers[rows] for identity, rows in pairs]
    edges = [identity.edges_xyxy[rows] for identity, rows in pairs]
    positions = np.array([identity.sequence for identity in kept], dtype=np.int64)
    return Crops(
        sequences=tuple(sequences),
        sequence=np.repeat(positions, counts),
        frame_numbers=np.concatenate([none, *frame_numbers]),
        edges_xyxy=np.concatenate([none.reshape(0, 4), *edges]),
        labels=np.repeat(np.arange(len(kept)), counts),
        names=tuple(names),
        rare=len(identities) - len(kept),
    )


def _edges(rows: MotRows, size: tuple[int, int]) -> Integers:
    height, width = size
    limit = np.array([width - 1, height - 1] * 2)
    return rows.boxes_xyxy.astype(np.int64).clip(0, limit)
