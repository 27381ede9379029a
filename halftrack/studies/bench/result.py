"""Times of a recipe's steps and of its inference, by part, and how they are told."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Benchmark", "Spread", "spreads"]


@dataclass(frozen=True)
class Spread:
    """Seconds of a part in each round."""

    seconds: tuple[float, ...]
    """In the order of the rounds."""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def numbers(self) -> dict[str, float]:
        """Median, least and greatest."""
        low, high = min(self.seconds), max(self.seconds)
        return {"median": self.median, "least": low, "greatest": high}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Times of a recipe's training steps and of its inference."""

    recipe: str
    """Name of the recipe."""
    computation: str
    """Device, precision and memory layout, in words."""
    image: tuple[int, int]
    """Height and width, in pixels, of the largest image that the network sees."""
    samples: int
    """Samples of a training step."""
    frames: int
    """Frames or crops of a call of inference; 0 if the model's inference is not known here."""
    references: int
    """Reference frames that inference in a video has; 0 of a model that takes none."""
    epoch: int
    """The epoch, 0-based, whose steps were timed: the first of the last of ``training.phases``."""
    skipped: int
    """Steps among those timed that moved nothing: a gradient was not finite."""
    warm_up: int
    """Rounds that came first and do not count."""
    training: Mapping[str, Spread]
    """Seconds by part of a step, and ``all`` of it."""
    inference: Mapping[str, Spread]
    """Seconds by part of a call, and ``all`` of it."""

    def rates(self) -> dict[str, float]:
        """Samples a second in training, frames a second in inference, by the medians."""
        rates = {"training": self.samples / self.training["all"].median}
        if self.inference:
            rates["inference"] = self.frames / self.inference["all"].median
        return rates

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """A row for each part, by title."""
        units = {"training": "samples", "inference": "frames"}
        tables = {}
        for name, rate in self.rates().items():
            parts = getattr(self, name)
            whole = parts["all"].median
            tables[f"{name}: {rate:.3g} {units[name]}/s"] = [
                {
                    "part": part,
                    **{key: f"{1e3 * value:.1f} ms" for key, value in spread.numbers().items()},
                    "share": f"{spread.median / whole:.0%}",
                }
                for part, spread in parts.items()
            ]
        return tables

    def notes(self) -> list[str]:
        """Lines on what was timed."""
        height, width = self.image
        rounds = len(self.training["all"].seconds)
        lines = [
            self.computation,
            f"random weights, images of up to {height}x{width}; {rounds} rounds after "
            f"{self.warm_up} to warm up",
        ]
        if self.epoch:
            lines.append(f"steps as from epoch {self.epoch + 1} on, where the last phase begins")
        if self.skipped:
            lines.append(f"{self.skipped} of {rounds} steps skipped: a gradient was not finite")
        if self.references:
            lines.append(f"a frame is seen with {self.references} references, embedded before")
        return lines

    def numbers(self) -> dict[str, Any]:
        """All of it for JSON; times in seconds."""
        parts = {"training": self.training, "inference": self.inference}
        return vars(self) | {
            "rounds": len(self.training["all"].seconds),
            "per_second": self.rates(),
            **{k: {part: each.numbers() for part, each in v.items()} for k, v in parts.items()},
        }


def spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The seconds of each part, from those of each round; a part may be missing in some rounds."""
    parts = dict.fromkeys(part for each in rounds for part in each)
    return {part: Spread(tuple(each.get(part, 0.0) for each in rounds)) for part in parts}
