"""A deliberate mistake on the command line, the files it names, and what it must be told."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

LONG = "x" * 5000
NAMES = {
    "VID": "selsa_tiny_sample",
    "DET": "faster-rcnn_tiny_sample",
    "REID": "reid_tiny_sample",
    "MOT": "tracktor_tiny_sample",
    "PUBLIC": "tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half",
    "SOT": "siamese_rpn_tiny_sample",
    "LONG": LONG,
}
"""What stands for what in the table; recipes that need no data and no weights."""

NOT_OURS = (
    "Traceback", "Input should be", "[type=", "For further information", "validation error",
    "Field required", "Value error", "RuntimeError", "defect of halftrack",
)  # fmt: skip
"""Words of Python, torch and pydantic that no user should read."""


@dataclass(frozen=True)
class Mistake:
    """A command line with one mistake."""

    words: str
    """As a shell takes it; capital letters stand for a recipe, see ``NAMES``."""
    told: tuple[str, ...]
    """What the message must hold: the option or field, what was given, what is allowed."""

    @property
    def arguments(self) -> list[str]:
        """The words behind ``halftrack``."""
        return [self._word(word) for word in shlex.split(self.words)]

    @staticmethod
    def _word(word: str) -> str:
        return NAMES.get(word, word.replace("LONG", LONG))


def faults_of(mistake: Mistake, code: int, told: str) -> list[str]:
    """What is wrong with the answer to a mistake; nothing if it was handled."""
    faults = [f"it holds {words!r}" for words in NOT_OURS if words in told]
    faults += [f"it lacks {words!r}" for words in mistake.told if words not in told]
    if code != 2:
        faults.append(f"exit code {code}")
    if len(told) > 900 or len(told.strip().splitlines()) > 4:
        faults.append(f"{len(told)} letters, {len(told.splitlines())} lines")
    return faults


def set_up(folder: Path) -> None:
    """Write the files that the mistakes name."""
    (folder / "data").mkdir()
    for set_there in ("ILSVRC/Data", "ILSVRC/Annotations", "MOT17/train", "MOT17/test"):
        (folder / "sets" / set_there).mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "text").write_text("hello\n", encoding="utf-8")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "pointer").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "pickle").write_bytes(b"\x80\x6cK\x01.")
    (folder / "page").write_text("<!DOCTYPE html><html></html>\n")
    (folder / "frames").mkdir()
    for number in range(2):
        Image.new("RGB", (64, 48)).save(folder / f"frames/{number}.jpg")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")


def row(words: str, *told: str) -> Mistake:
    """A row of the tables."""
    return Mistake(words, told)
