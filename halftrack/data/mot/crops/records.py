"""Crops of people with the individual that each shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from halftrack.data.index import Integers
from halftrack.data.index_cache import contents_hash
from halftrack.data.mot.records import MotSequence

__all__ = ["Crops"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Crops of the individuals of one or more sequences, the crops of each in one piece."""

    sequences: tuple[MotSequence, ...]
    """Sequences that the crops are cut from; of crops that are files themselves, one of these."""
    sequence: Integers
    """``(n,)`` position in ``sequences``."""
    frame_numbers: Integers
    """``(n,)`` 1-based."""
    edges_xyxy: Integers | None
    """``(n, 4)`` first and last column and row, both inside the image and part of the crop; None
    where each image is a crop."""
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

    @property
    def source(self) -> str:
        """The places that the crops come from, for messages."""
        return ", ".join(str(each.folder) for each in self.sequences) or "no sequence"

    def facts(self) -> dict[str, int | str]:
        """Sequences, individuals and crops, and a hash of where these are cut or which files."""
        arrays = [self.sequence, self.frame_numbers, self.labels]
        told: tuple[object, ...] = (self.names, [(each.name, each.size) for each in self.sequences])
        if self.edges_xyxy is None:
            told = (*told, [self._file(crop) for crop in range(len(self))])
        else:
            arrays.append(self.edges_xyxy)
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
        if self.edges_xyxy is None:
            return str(PurePosixPath(self._file(crop)).with_suffix(""))
        frame = self.sequences[self.sequence[crop]].sample_id(int(self.frame_numbers[crop]))
        return f"{frame}/{self.names[self.labels[crop]].rpartition('/')[2]}"

    def _file(self, crop: int) -> str:
        """The path of a crop that is a file itself, below the folder of all of them."""
        sequence = self.sequences[self.sequence[crop]]
        path = Path(sequence.path(int(self.frame_numbers[crop])))
        return path.relative_to(sequence.folder).as_posix()

    def by_frame(self) -> dict[tuple[int, int], list[int]]:
        """The crops of each (sequence, frame number), frames in order."""
        order = np.lexsort((self.frame_numbers, self.sequence))
        groups: dict[tuple[int, int], list[int]] = {}
        for crop in order.tolist():
            place = (int(self.sequence[crop]), int(self.frame_numbers[crop]))
            groups.setdefault(place, []).append(crop)
        return groups
