"""Answers of a detector and an embedder kept on disk: frames as files, the rest in a table.

A search over a tracker's settings asks the same questions again and again. Detections and feature
maps depend on the frame alone; regressed boxes and embeddings on the boxes that are asked for too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from halftrack.errors import UserError, naming_file
from halftrack.frames import Detections, Frame

__all__ = ["KeptAnswers"]

_INPUTS, _FRAMES, _ANSWERS = "inputs.json", "frames", "answers.sqlite"
_LEVEL = "level"
_COMMITTED = 4 << 20  # bytes of answers after which the table is written to disk


class KeptAnswers:
    """Folder of kept answers, bounded in size.

    Args:
        folder: the folder; it is made, and what it holds of other inputs is removed.
        inputs: all that the answers depend on beside the question, as short texts.
        most_bytes: beyond this size feature maps and answers are computed anew each time.
        say: told if an old folder is not used.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Mapping[str, str],
        *,
        most_bytes: int,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._inputs = dict(inputs)
        found = _read_inputs(folder / _INPUTS)
        differing = [name for name in inputs if found.get(name) != inputs[name]]
        if found and differing:
            say(f"{folder} is of other {', '.join(differing)}: it is filled anew")
        if differing:
            shutil.rmtree(folder / _FRAMES, ignore_errors=True)
            (folder / _ANSWERS).unlink(missing_ok=True)
        (folder / _FRAMES).mkdir(parents=True, exist_ok=True)
        with naming_file(folder / _INPUTS):
            (folder / _INPUTS).write_text(json.dumps(self._inputs, indent=2), encoding="utf-8")
        self._table = sqlite3.connect(folder / _ANSWERS)
        weakref.finalize(self, self._table.close)
        with self._telling():
            self._table.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
            )
        sizes = (file.stat().st_size for file in folder.rglob("*") if file.is_file())
        self.bytes = sum(sizes)
        """Size of the folder so far."""
        self._uncommitted = 0
        self._open: dict[str, _KeptFrame] = {}

    def has(self, sequence: str, frame_number: int) -> bool:
        """True if a frame is kept, with its feature maps unless the bound leaves no room."""
        file = self._file(sequence, frame_number)
        if not file.exists():
            return False
        left_out = _KeptFrame(file).left_out_bytes
        return not left_out or self.bytes + left_out > self.most_bytes

    def keep(
        self,
        sequence: str,
        frame_number: int,
        frame: Frame,
        found: Detections,
        maps: Sequence[Tensor],
    ) -> int:
        """Write a frame with its detections, and its feature maps while they fit in the bound.

        Returns:
            Bytes of the frame with its maps, whether these were written or not.
        """
        tensors = {
            "image": frame.pixels,
            "boxes": found.boxes_xyxy,
            "scores": found.scores,
            "labels": found.labels,
        }
        file = self._file(sequence, frame_number)
        file.parent.mkdir(exist_ok=True)
        before = file.stat().st_size if file.exists() else 0
        size = sum(each.nbytes for each in (*tensors.values(), *maps))
        left_out = 0
        if self.bytes - before + size > self.most_bytes:
            left_out, maps = sum(each.nbytes for each in maps), ()
        tensors |= {f"{_LEVEL}{number}": level for number, level in enumerate(maps)}
        facts = {
            "sample_id": frame.sample_id,
            "frame_index": frame.frame_index,
            "scale_xy": frame.scale_xy,
            "levels": len(maps),
            "left_out_bytes": left_out,
        }
        on_cpu = {name: each.detach().to("cpu").contiguous() for name, each in tensors.items()}
        content = save(on_cpu, metadata={"frame": json.dumps(facts)})
        beside = file.with_suffix(".tmp")
        with naming_file(file):
            beside.write_bytes(content)
            os.replace(beside, file)
        self.bytes += len(content) - before
        return size

    def frames(self, sequence: str) -> Iterator[Frame]:
        """The kept frames of a sequence in order, their pixels read when they are looked at.

        ``detections`` and ``maps`` are of the sequence whose frames were read last.
        """
        self._open = {}
        for file in sorted((self.folder / _FRAMES / sequence).glob("*.safetensors")):
            kept = _KeptFrame(file)
            self._open[kept.frame.sample_id] = kept
            yield kept.frame

    def detections(self, frame: Frame) -> Detections:
        """Detections in a kept frame, on the CPU."""
        return self._open[frame.sample_id].detections

    def maps(self, frame: Frame) -> list[Tensor]:
        """Feature maps of a kept frame, on the CPU; none where the bound left no room."""
        return self._open[frame.sample_id].maps()

    def answer(
        self, question: str, boxes_xyxy: Tensor, compute: Callable[[], Sequence[Tensor]]
    ) -> list[Tensor]:
        """The answer to a question about boxes, computed where it was not asked before.

        Boxes count bit by bit, and all of them together: in a batch of another size the same box is
        answered with other rounding.

        Args:
            question: all that the answer depends on, beside the boxes.
            boxes_xyxy: ``(n, 4)``, on the CPU.
            compute: the answer, as tensors.

        Returns:
            The tensors, on the CPU.
        """
        asked = question.encode() + b"\0" + boxes_xyxy.contiguous().numpy().tobytes()
        key = hashlib.blake2b(asked, digest_size=16).digest()
        with self._telling():
            row = self._table.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        if row is not None:
            stored = load(row[0])
            return [stored[str(place)] for place in range(len(stored))]
        answer = [each.to("cpu").contiguous() for each in compute()]
        content = save({str(place): each for place, each in enumerate(answer)})
        if self.bytes + len(content) <= self.most_bytes:
            with self._telling():
                self._table.execute("INSERT INTO answers VALUES (?, ?)", (key, content))
            self.bytes += len(content)
            self._uncommitted += len(content)
            if self._uncommitted > _COMMITTED:
                self.commit()
        return answer

    def commit(self) -> None:
        """Write the answers so far to disk."""
        with self._telling():
            self._table.commit()
        self._uncommitted = 0

    def _file(self, sequence: str, frame_number: int) -> Path:
        return self.folder / _FRAMES / sequence / f"{frame_number:08d}.safetensors"

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(
                f"{self.folder / _ANSWERS} cannot be used ({error}): remove the folder "
                f"{self.folder}, it will be filled again"
            ) from error


class _KeptFrame:
    """A frame's file, mapped into memory: what is not looked at is not read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._tensors: Any = safe_open(file, framework="pt")
            facts = json.loads(self._tensors.metadata()["frame"])
            self._levels = facts["levels"]
            self.left_out_bytes = int(facts["left_out_bytes"])
            self.frame = Frame(
                image=self._tensors.get_tensor("image"),
                sample_id=facts["sample_id"],
                frame_index=facts["frame_index"],
                scale_xy=tuple(facts["scale_xy"]),
            )
            self.detections = Detections(
                boxes_xyxy=self._tensors.get_tensor("boxes"),
                scores=self._tensors.get_tensor("scores"),
                labels=self._tensors.get_tensor("labels"),
            )
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise UserError(
                f"{file} is damaged: remove the folder {file.parents[2]}, it will be filled again"
            ) from error

    def maps(self) -> list[Tensor]:
        return [self._tensors.get_tensor(f"{_LEVEL}{place}") for place in range(self._levels)]


def _read_inputs(file: Path) -> dict[str, str]:
    """What a folder says that its answers depend on; nothing where it says nothing."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
