"""Batches of any type: their tensors, by field, and names for their samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

__all__ = ["named_tensors", "sample_names"]


def sample_names(batch: Any) -> tuple[str, ...]:
    """Names of a batch's samples: its ``sample_ids``, or else positions in the batch, from 0.

    There are positions where all tensors agree on how many samples there are, by their first
    dimension or, of a list of tensors or of dicts, by its length; if not, samples have no names.
    """
    own = getattr(batch, "sample_ids", None)
    if own is not None:
        return tuple(own)
    counts = set(_counts(batch, outermost=True))
    return tuple(map(str, range(counts.pop()))) if len(counts) == 1 else ()


def named_tensors(
    batch: Any, name: str = "", sample: str | None = None
) -> Iterator[tuple[str, Tensor, str | None]]:
    """Every tensor in a batch with its field and, where the batch names one, its sample."""
    if isinstance(batch, Tensor):
        yield name or "batch", batch, sample
        return
    sample = getattr(batch, "sample_id", sample)
    for inner, part in _parts(batch, name):
        yield from named_tensors(part, inner, sample)


def _parts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The parts of a container, each with its name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{name}[{key!r}]", item
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield f"{name}.{part.name}" if name else part.name, getattr(value, part.name)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield f"{name}[{index}]", item


def _counts(value: Any, *, outermost: bool = False) -> Iterator[int]:
    """The number of samples that each part of a batch has."""
    if isinstance(value, Tensor):
        if value.dim():
            yield len(value)
        return
    parts = [part for _, part in _parts(value, "")]
    listed = bool(parts) and isinstance(value, list | tuple)
    # A list at the top is of samples only if each is a dict: many loaders give [images, labels].
    if listed and (not outermost or all(isinstance(part, Mapping) for part in parts)):
        yield len(parts)
        return
    for part in parts:
        yield from _counts(part)
