"""Report of a data check: counts of everything, and every problem with its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from halftrack.data.problems import Problem, counted

__all__ = ["DataReport", "SetReport"]


@dataclass(frozen=True, kw_only=True)
class SetReport:
    """Contents of one data set and everything that is wrong with it."""

    name: str
    """``train vid``, ``train lasot``, ``val vid``, ``LaSOT test``, or a MOTChallenge split."""
    counts: dict[str, int] = field(default_factory=dict)
    """Counts of what is learned from or tested on: ``videos`` or ``stills``, ``frames`` with a
    readable annotation, ``key frames``, ... ; empty if the set could not be read."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Numbers of images by their height and width; empty where nothing tells."""
    boxes_per_class: dict[str, int] = field(default_factory=dict)
    """Usable boxes of each class; empty where classes do not matter."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Counts of what is not used, by kind: ``boxes under one pixel``, ...; empty where all is."""
    clipped_boxes: int | None = None
    """Boxes that reach outside their image and are clipped; None where none is."""
    odd: Mapping[str, int] = field(default_factory=dict)
    """Counts of what looks odd and is used all the same, by kind; empty where nothing does."""
    odd_images: tuple[Problem, ...] = ()
    """Images that are used, but otherwise than they look."""
    problems: tuple[Problem, ...] = ()
    """Everything that training or testing would stop at."""

    def lines(self, limit: int) -> list[str]:
        """Text for people, with at most ``limit`` problems."""
        lines = [f"{self.name}: {_listed(self.counts) or 'could not be read'}"]
        if self.sizes:
            lines.append(f"  sizes: {_sizes(self.sizes)}")
        if self.boxes_per_class:
            boxes = ", ".join(f"{name} {n}" for name, n in self.boxes_per_class.items() if n)
            lines.append(f"  boxes: {boxes or 'none'}")
        if self.left_out:
            line = f"  left out: {counted(self.left_out)}"
            if self.clipped_boxes is not None:
                line += f"; clipped: {self.clipped_boxes} boxes that reach outside their image"
            lines.append(line)
        if any(self.odd.values()):
            lines.append(f"  odd, but used: {counted(self.odd)}")
        if self.odd_images:
            lines.append(f"  odd images, but used: {len(self.odd_images)}")
            lines += _first(self.odd_images, limit)
        lines.append(f"  problems: {len(self.problems)}")
        return [*lines, *_first(self.problems, limit)]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The findings of a check."""

    sets: tuple[SetReport, ...]
    """One report a data set."""
    decoded: bool
    """True if every image was decoded, not only looked for."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems of all sets."""
        return tuple(problem for report in self.sets for problem in report.problems)

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems

    def with_set(self, report: SetReport) -> DataReport:
        """The same and the findings of one more set."""
        return replace(self, sets=(*self.sets, report))

    def lines(self, limit: int = 50) -> list[str]:
        """Text for people, with at most ``limit`` problems of each set."""
        lines = [line for report in self.sets for line in report.lines(limit)]
        images = "decoded" if self.decoded else "looked for, not decoded"
        return [*lines, f"images were {images}; {self._verdict()}"]

    def _verdict(self) -> str:
        if not self.ok:
            return "see problems"
        odd = sum(len(report.odd_images) for report in self.sets)
        return f"no problems, but see {odd} odd images" if odd else "all is well"


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """The commonest sizes as width and height, and how many others there are."""
    told = [f"{width}x{height} ({n})" for (height, width), n in sizes.most_common(4)]
    more = len(sizes) - len(told)
    return ", ".join(told) + (f" and {more} others" if more else "")


def _first(problems: tuple[Problem, ...], limit: int) -> list[str]:
    more = len(problems) - limit
    lines = [f"    {problem}" for problem in problems[:limit]]
    return [*lines, f"    ... and {more} more"] if more > 0 else lines


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items())
