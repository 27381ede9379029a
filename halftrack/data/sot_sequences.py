"""LaSOT, OTB100, UAV123, TrackingNet, GOT-10k and VOT2018 as downloaded, one target a sequence.

The boxes agree with MMTracking 0.14, which takes left and top as they are written: the 1 of 1-based
pixels is not subtracted. Which frames of OTB100 and UAV123 belong to a sequence is also its choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from torch import Tensor

from halftrack.data.images import load_image
from halftrack.data.index import Booleans
from halftrack.data.prefetch import read_ahead
from halftrack.data.problems import DataError, SkipLedger

__all__ = ["SotBenchmark", "SotSequence", "SotSplit", "TestTarget", "TestTargets", "read_sot"]

SotBenchmark = Literal["LaSOT", "OTB100", "UAV123", "TrackingNet", "GOT-10k", "VOT2018"]
"""A data set. VOT2018 is read for one-pass evaluation; it has no restarts here."""
SotSplit = Literal["train", "val", "test"]
"""OTB100, UAV123 and VOT2018 have only ``test``, LaSOT and TrackingNet no ``val``."""

Doubles = npt.NDArray[np.float64]

# The number of the first image, where it is not 1. The videos are longer than the sequences.
_OTB_STARTS = {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300, "Tiger1": 6}
# OTB's initOmit: the first boxes of Tiger1 are written but not used.
_OTB_OMITTED = {"Tiger1": 5}
_OTB_DIGITS = {"Board": 5}
# Human4 shows two people, of whom the benchmark follows the second.
_OTB_TARGETS = {"Human4": ("groundtruth_rect.2.txt",)}
# Where each sequence begins that is cut from a longer video, <video>_1, <video>_2, ...
_UAV_STARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car16": (1, 415),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}
# The order of the flags in the files of LaSOT's kit and of UAV123.
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "LaSOT": (
        *("IV", "POC", "DEF", "MB", "CM", "ROT", "BC"),
        *("VC", "SV", "FOC", "FM", "OV", "LR", "ARC"),
    ),
    "UAV123": ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SotSequence:
    """One sequence: where its images are and where its target is."""

    name: str
    """The benchmark's, which is also that of a results file."""
    folder: Path
    """Where its images lie."""
    image_name: str
    """Name of an image below ``folder``, to be formatted with its number."""
    numbers: range
    """Numbers of the images, as the files have them: they need not start at 1."""
    first_box_xyxy: Doubles
    """``(4,)`` what a tracker starts from, in original pixels."""
    boxes_xyxy: Doubles | None
    """``(n, 4)``, one a frame, NaN where UAV123 has none; None if only the first is published."""
    absent: Booleans
    """``(n,)`` where the data set says that the target cannot be seen; False where it is silent."""
    attributes: frozenset[str] = frozenset()
    """What is hard in it, under the benchmark's abbreviations; empty where nothing is said."""

    def __len__(self) -> int:
        return len(self.numbers)

    def path(self, frame_index: int) -> str:
        """Where a frame's image lies; frames count from 0, whatever the files' numbers are."""
        return str(self.folder / self.image_name.format(self.numbers[frame_index]))

    def truth(self) -> Doubles:
        """The box ``(n, 4)`` of every frame, to score with.

        Raises:
            DataError: if only the first is published: there a server scores the results.
        """
        if self.boxes_xyxy is None:
            raise DataError(
                str(self.folder),
                f"only the first of {len(self)} boxes is published: results can be written for "
                "the benchmark's server, not scored here",
            )
        return self.boxes_xyxy


def read_sot(
    data_root: str | Path,
    benchmark: SotBenchmark,
    split: SotSplit = "test",
    *,
    attributes: str | Path | None = None,
) -> tuple[SotSequence, ...]:
    """The sequences of a split: in the order of the data set's list if it has one, else by name.

    Only LaSOT's list must be complete: elsewhere what is there is read.

    Args:
        data_root: the folder that contains the benchmark's folder, or that folder itself.
        benchmark: which data set.
        split: which sequences.
        attributes: a folder of ``<sequence>.txt``, each a line of flags: LaSOT's are not in its
            download but in its evaluation kit, ``annos/att``. UAV123's are found where they are.

    Raises:
        DataError: if the tree is missing, or a file is missing or malformed.
        ValueError: if an argument is not one of those allowed.
    """
    if benchmark not in get_args(SotBenchmark):
        allowed = ", ".join(map(repr, get_args(SotBenchmark)))
        raise ValueError(f"benchmark={benchmark!r}: expected one of {allowed}")
    layout = _LAYOUTS[benchmark]
    if split not in layout.splits:
        allowed = ", ".join(map(repr, layout.splits))
        raise ValueError(f"split={split!r}: {benchmark} has {allowed}")
    if attributes is not None and benchmark not in _ATTRIBUTES:
        raise ValueError(
            f"attributes={str(attributes)!r}: known are those of {', '.join(_ATTRIBUTES)}, "
            f"not of {benchmark}"
        )
    base = _find(data_root, benchmark, layout.sign.format(split=split, upper=split.upper()))
    flags = None if attributes is None else Path(attributes).expanduser()
    sequences = tuple(layout.read(base, split, flags))
    if not sequences:
        raise DataError(str(base), f"no sequence of {benchmark} {split} here")
    return sequences


def _find(data_root: str | Path, benchmark: str, sign: str) -> Path:
    """The benchmark's folder in ``data_root``, or ``data_root`` itself if it is one."""
    root = Path(data_root).expanduser().resolve()
    folders = _LAYOUTS[benchmark].folders
    for candidate in (*(root / folder for folder in folders), root):
        if candidate.is_dir() and next(candidate.glob(sign), None) is not None:
            return candidate
    looked = " or ".join(f"{root}{below}/{sign}" for below in (*(f"/{f}" for f in folders), ""))
    raise DataError(str(root), f"no {benchmark} here: looked for {looked}")


def _read_lasot(base: Path, split: str, attributes: Path | None) -> Iterator[SotSequence]:
    listed = _read_lines(base / "testing_set.txt")
    found = {path.parent.name: path.parent for path in base.glob("*/*/groundtruth.txt")}
    missing = [name for name in listed if name not in found]
    if split == "test" and missing:
        raise DataError(
            str(base / "testing_set.txt"),
            f"{len(missing)} of its {len(listed)} sequences are not here, {missing[0]} the first",
        )
    for name in listed if split == "test" else sorted(found.keys() - set(listed)):
        folder = found[name]
        boxes_xyxy = _read_boxes(folder / "groundtruth.txt")
        # A box without area is nothing to be found, whatever the flags say.
        x1, y1, x2, y2 = boxes_xyxy.T
        absent = (x2 <= x1) | (y2 <= y1)
        for file in ("full_occlusion.txt", "out_of_view.txt"):
            absent |= _read_flags(folder / file, len(absent))
        yield _sequence(
            name,
            folder,
            "img/{:08d}.jpg",
            boxes_xyxy,
            absent=absent,
            attributes=_read_attributes(attributes / f"{name}.txt", "LaSOT")
            if attributes is not None
            else _NONE,
        )


def _read_otb(base: Path, _split: str, _attributes: Path | None) -> Iterator[SotSequence]:
    for folder in sorted({path.parent for path in base.glob("*/groundtruth_rect*.txt")}):
        video = folder.name
        files = sorted(path.name for path in folder.glob("groundtruth_rect*.txt"))
        for file in _OTB_TARGETS.get(video, files):
            number = file.removeprefix("groundtruth_rect").removesuffix(".txt").lstrip(".")
            yield _sequence(
                f"{video}-{number}" if number else video,
                folder,
                f"img/{{:0{_OTB_DIGITS.get(video, 4)}d}}.jpg",
                _read_boxes(folder / file)[_OTB_OMITTED.get(video, 0) :],
                start=_OTB_STARTS.get(video, 1),
                cut=True,
            )


def _read_uav(base: Path, _split: str, attributes: Path | None) -> Iterator[SotSequence]:
    for file in sorted((base / "anno/UAV123").glob("*.txt")):
        video, _, part = file.stem.rpartition("_")
        starts = _UAV_STARTS.get(video, ()) if part.isdecimal() else ()
        if not starts:
            video, start = file.stem, 1
        elif 1 <= int(part) <= len(starts):
            start = starts[int(part) - 1]
        else:
            raise DataError(str(file), f"{video} has sequences 1 to {len(starts)}, not {part}")
        flags = (attributes or file.parent / "att") / file.name
        # Those beside the annotations are read if they are there, those asked for must be.
        known = attributes is not None or flags.exists()
        yield _sequence(
            file.stem,
            base / "data_seq/UAV123" / video,
            "{:06d}.jpg",
            _read_boxes(file, nan=True),
            start=start,
            cut=True,
            attributes=_read_attributes(flags, "UAV123") if known else _NONE,
        )


def _read_trackingnet(base: Path, split: str, _attributes: Path | None) -> Iterator[SotSequence]:
    for part in sorted(base.glob("TEST" if split == "test" else "TRAIN_*"), key=_by_number):
        for file in sorted((part / "anno").glob("*.txt")):
            folder = part / "frames" / file.stem
            frames = _count_images(folder, 0) if split == "test" else None
            boxes_xyxy = _read_boxes(file)
            yield _sequence(file.stem, folder, "{}.jpg", boxes_xyxy, start=0, frames=frames)


def _read_got10k(base: Path, split: str, _attributes: Path | None) -> Iterator[SotSequence]:
    for folder in _listed(base / split):
        absence = folder / "absence.label"
        frames = _count_images(folder, 1) if split == "test" else None
        boxes_xyxy = _read_boxes(folder / "groundtruth.txt")
        told = len(boxes_xyxy) if frames is None else frames
        absent = _read_flags(absence, told) if absence.exists() else None
        yield _sequence(folder.name, folder, "{:08d}.jpg", boxes_xyxy, frames=frames, absent=absent)


def _read_vot(base: Path, _split: str, _attributes: Path | None) -> Iterator[SotSequence]:
    for folder in _listed(base):
        boxes_xyxy = _read_boxes(folder / "groundtruth.txt", polygons=True)
        yield _sequence(folder.name, folder, "color/{:08d}.jpg", boxes_xyxy)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    folders: tuple[str, ...]
    """Below the data root: as it unpacks, then as MMTracking's guide has it."""
    sign: str
    """Pattern of what such a folder holds."""
    splits: tuple[str, ...]
    read: Callable[[Path, str, Path | None], Iterator[SotSequence]]


_LAYOUTS = {
    "LaSOT": _Layout(
        folders=("LaSOTBenchmark", "lasot/LaSOTBenchmark"),
        sign="*/*/groundtruth.txt",
        splits=("train", "test"),
        read=_read_lasot,
    ),
    "OTB100": _Layout(
        folders=("OTB100", "otb100/data"),
        sign="*/groundtruth_rect*.txt",
        splits=("test",),
        read=_read_otb,
    ),
    "UAV123": _Layout(
        folders=("UAV123",), sign="anno/UAV123/*.txt", splits=("test",), read=_read_uav
    ),
    "TrackingNet": _Layout(
        folders=("TrackingNet", "trackingnet"),
        sign="{upper}*/anno",
        splits=("train", "test"),
        read=_read_trackingnet,
    ),
    "GOT-10k": _Layout(
        folders=("GOT-10k", "got10k"),
        sign="{split}/*/groundtruth.txt",
        splits=("train", "val", "test"),
        read=_read_got10k,
    ),
    "VOT2018": _Layout(
        folders=("VOT2018", "vot2018/data"),
        sign="*/groundtruth.txt",
        splits=("test",),
        read=_read_vot,
    ),
}
_NONE: frozenset[str] = frozenset()


def _sequence(
    name: str,
    folder: Path,
    image_name: str,
    boxes_xyxy: Doubles,
    *,
    start: int = 1,
    frames: int | None = None,
    cut: bool = False,
    absent: Booleans | None = None,
    attributes: frozenset[str] = _NONE,
) -> SotSequence:
    """A sequence that can be tracked: its first and last image are there, its first box is one.

    Args:
        name: its name.
        folder: where its images lie.
        image_name: to be formatted with a number.
        boxes_xyxy: one a frame, or only the first.
        start: number of its first image.
        frames: how many images there are; None: as many as boxes.
        cut: its video may go on.
        absent: by frame.
        attributes: what is hard in it.
    """
    told = len(boxes_xyxy)
    numbers = range(start, start + (told if frames is None else frames))
    last, after = (folder / image_name.format(number) for number in (numbers[-1], numbers.stop))
    # Two or three looks at the disk: listing the millions of images takes minutes.
    for image in (folder / image_name.format(start), last):
        if not image.is_file():
            raise DataError(str(image), f"image is missing; {name} has {len(numbers)} frames")
    if told not in (1, len(numbers)) or (frames is None and not cut and after.is_file()):
        images = len(numbers) if frames is not None else f"more than {told}"
        raise DataError(str(folder), f"{told} boxes for {images} images; expected one an image")
    first = boxes_xyxy[0]
    if not (first[2:] > first[:2]).all():
        raise DataError(str(folder), f"no tracker can start from the first box, {first.tolist()}")
    return SotSequence(
        name=name,
        folder=folder,
        image_name=image_name,
        numbers=numbers,
        first_box_xyxy=first,
        boxes_xyxy=boxes_xyxy if told == len(numbers) else None,
        absent=np.zeros(len(numbers), dtype=np.bool_) if absent is None else absent,
        attributes=attributes,
    )


def _count_images(folder: Path, start: int) -> int:
    """How many images there are from ``start`` on to the last."""
    last = max((int(p.stem) for p in folder.glob("*.jpg") if p.stem.isdecimal()), default=None)
    if last is None:
        raise DataError(str(folder), "no image here, expected <number>.jpg")
    return last - start + 1


def _by_number(part: Path) -> int:
    number = part.name.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1


def _listed(base: Path) -> list[Path]:
    """The folders that ``list.txt`` names; without one, all that hold ground truth."""
    file = base / "list.txt"
    if file.exists():
        return [base / name for name in _read_lines(file)]
    return sorted(path.parent for path in base.glob("*/groundtruth.txt"))


def _read_lines(file: Path) -> list[str]:
    """The lines of a file that must be there, without blank ones at its end."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(str(file), "file is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(file), f"cannot be read: {error}") from None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not lines:
        raise DataError(str(file), "is empty")
    # Blank lines would be skipped, and each box after one would move to another frame.
    if "" in lines:
        raise DataError(str(file), f"line {lines.index('') + 1} is empty")
    return lines


def _read_boxes(file: Path, *, nan: bool = False, polygons: bool = False) -> Doubles:
    """Boxes ``(n, 4)`` x1, y1, x2, y2 of lines ``x,y,w,h``, or of corners ``x1,y1,...,x4,y4``."""
    lines = _read_lines(file)
    columns = (4, 8) if polygons else (4,)
    delimiter = "," if "," in lines[0] else None  # else tabs or spaces
    try:
        table = np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError:
        table = None
    if table is None or table.shape[1] not in columns:
        raise DataError(str(file), _what_is_wrong(lines, delimiter, columns))
    odd = np.flatnonzero((np.isinf(table) if nan else ~np.isfinite(table)).any(axis=1))
    if len(odd):
        raise DataError(str(file), f"line {odd[0] + 1}, {lines[odd[0]]!r}: a value is not finite")
    if table.shape[1] == 8:
        return _around(table)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)


def _what_is_wrong(lines: list[str], delimiter: str | None, columns: tuple[int, ...]) -> str:
    """The first line that is no row of numbers."""
    width = len(lines[0].split(delimiter))
    for number, line in enumerate(lines, start=1):
        values = line.split(delimiter)
        if len(values) not in columns or len(values) != width:
            allowed = " or ".join(map(str, columns))
            told = f"{len(values)} columns, expected {allowed}, the same in each line"
            return f"line {number}, {line!r}: {told}"
        for value in values:
            try:
                float(value)
            except ValueError:
                return f"line {number}, {line!r}: {value.strip()!r} is not a number"
    return "is not a table of numbers"


def _around(corners: Doubles) -> Doubles:
    """Upright boxes ``(n, 4)`` for polygons ``(n, 8)``, as MMTracking's quad2bbox.

    The centre is the corners' mean and the ratio of the sides that of the upright hull, which is
    shrunk to the area of the rectangle that the first three corners span.
    """
    points = corners.reshape(-1, 4, 2)
    hull = points.max(axis=1) - points.min(axis=1)
    edges = np.linalg.norm(points[:, :2] - points[:, 1:3], axis=2)
    area = hull.prod(axis=1)
    shrink = np.sqrt(np.divide(edges.prod(axis=1), area, out=np.zeros_like(area), where=area > 0))
    centre, half = points.mean(axis=1), 0.5 * shrink[:, None] * hull
    return np.concatenate([centre - half, centre + half], axis=1)


def _read_flags(file: Path, expected: int) -> Booleans:
    """Flags 0 or 1, separated by commas, spaces or lines."""
    words = " ".join(_read_lines(file)).replace(",", " ").split()
    odd = next((word for word in words if word not in ("0", "1")), None)
    if odd is not None:
        raise DataError(str(file), f"{odd!r} is flag {words.index(odd) + 1}, allowed are 0 and 1")
    if len(words) != expected:
        raise DataError(str(file), f"{len(words)} flags, expected {expected}")
    flags: Booleans = np.asarray(words) == "1"
    return flags


def _read_attributes(file: Path, benchmark: str) -> frozenset[str]:
    names = _ATTRIBUTES[benchmark]
    flags = _read_flags(file, len(names))
    return frozenset(name for name, flag in zip(names, flags, strict=True) if flag)


class TestTarget:
    """The frames of one sequence, for a tracker that gives a box in each."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(self, *, sequence: SotSequence, threads: int = 2) -> None:
        self.record = sequence
        """What was read of it."""
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
            DataError: if an image cannot be used.
        """
        return read_ahead(
            lambda frame_index: load_image(self.record.path(frame_index)),
            range(len(self)),
            threads=self._threads,
            on_bad_sample="error",
            skipped=SkipLedger(),
        )


class TestTargets:
    """The sequences of a split; rank ``r`` has every ``world_size``-th, whole."""

    __test__ = False  # Not a pytest class, whatever its name.

    def __init__(
        self,
        *,
        sequences: Sequence[SotSequence],
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank!r}, world_size={world_size!r}: 0 <= rank < world_size")
        self.names = tuple(sequence.name for sequence in sequences)
        """All sequences, those of other ranks included."""
        self._targets = tuple(
            TestTarget(sequence=sequence, threads=threads)
            for sequence in sequences[rank::world_size]
        )

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[TestTarget]:
        return iter(self._targets)

    def __getitem__(self, position: int) -> TestTarget:
        return self._targets[position]

    @property
    def num_frames(self) -> int:
        """Frames of this rank's sequences together."""
        return sum(len(target) for target in self._targets)
