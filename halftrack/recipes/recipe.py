"""What a recipe is: one complete, frozen, typed value, and how single fields of it are set."""

from __future__ import annotations

import ast
import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError

from halftrack.data import VidDataConfig
from halftrack.models import SELSA, SelsaConfig
from halftrack.precision import Precision
from halftrack.training import TrainingConfig

__all__ = ["Recipe", "override"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run, but for where the data lies and which seed is used."""

    name: str
    """The published name."""
    summary: str
    """One line on what it is."""
    model: SelsaConfig
    """Architecture and its loss, sampling and test settings."""
    data: VidDataConfig
    """What is read and how it is sampled."""
    training: TrainingConfig
    """How long, how fast."""
    precision: Precision
    """What it computes in."""
    backbone_weights: Literal["imagenet", "none"] = "imagenet"
    """Where the backbone starts: torchvision's ImageNet weights, or random."""

    def build_model(self, *, seed: int = 0) -> SELSA:
        """The model with random weights, a function of ``seed`` alone, on the CPU."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.model.build()

    def with_precision(self, name: str) -> Recipe:
        """The same recipe in another precision, its fp32 islands kept.

        ``fp16`` keeps the recipe's own loss scale where it has one, and else means a dynamic scale.

        Raises:
            ValueError: if there is no such precision.
        """
        if name == self.precision.name:
            return self
        precision = dataclasses.replace(Precision.named(name), keep_fp32=self.precision.keep_fp32)
        return dataclasses.replace(self, precision=precision)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints and logs keep them."""
        plain: dict[str, Any] = _plain(self)
        return plain


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Set fields from ``path=value`` texts, e.g. ``training.lr=0.02``.

    Values are Python literals (numbers, True, None, tuples); anything else is taken as text.

    Raises:
        ValueError: for a field that does not exist (the nearest one is named) or a value of the
        wrong type.
    """
    values = dataclasses.asdict(recipe)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"--set takes field=value, got {assignment!r}")
        _assign(values, path.strip(), _literal(text.strip()))
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"recipe field {field}: {first['msg']}, got {first['input']!r}") from error


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = values
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        known = _paths(values)
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.0)
        raise ValueError(f"no recipe field {path!r}; the nearest is {near[0]!r}")
    place[last] = value


def _paths(values: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found.append(prefix + name)
        if isinstance(value, dict):
            found += _paths(value, f"{prefix}{name}.")
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
