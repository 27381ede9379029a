"""Weights of a checkpoint in a model: no key is dropped silently, no NaN is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.training.files.checkpoint import read_checkpoint
from halftrack.training.files.foreign_names import our_names

__all__ = ["LoadReport", "check_complete", "check_values", "fill_weights", "load_weights"]

_MOST_ROWS = 40


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Report of loaded weights: what became of each key."""

    prefix: str
    """Path in the model that the file's keys were put at; empty for the whole model."""
    part: str
    """Part of the file that was read, e.g. ``detector.`` of a tracker's; empty for all of it."""
    loaded: tuple[str, ...]
    """Keys of the model that were filled."""
    missing: tuple[str, ...]
    """Keys below ``prefix`` that the file does not have; they keep their values."""
    unexpected: tuple[str, ...]
    """Keys of that part that the model does not have; they were ignored."""
    mismatched: tuple[str, ...]
    """Keys whose shapes differ, each with the file's shape and the model's; they were ignored."""
    classes: tuple[str, ...] = ()
    """Names of the classes that the file's model tells apart, in label order; empty if unknown."""

    def __str__(self) -> str:
        where = f" from its {self.part!r}" if self.part else ""
        where += f" into {self.prefix!r}" if self.prefix else ""
        lines = [f"{len(self.loaded)} tensors loaded{where}"]
        for label in ("missing", "unexpected", "mismatched"):
            keys: tuple[str, ...] = getattr(self, label)
            if keys:
                more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
                lines.append(f"{len(keys)} {label}: {', '.join(keys[:5])}{more}")
        return "; ".join(lines)

    def table(self) -> list[str]:
        """Lines with every key that was not loaded, a row for each module; none if all were."""
        rows: dict[tuple[str, str], list[str]] = {}
        for label, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            for key in keys:
                module, _, name = key.rpartition(".")
                rows.setdefault((label, module), []).append(name)
        told = [(label, module, ", ".join(names)) for (label, module), names in rows.items()]
        for line in self.mismatched:
            key, _, shapes = line.partition(" ")
            told.append(("mis-shaped", key, shapes))
        width = max((len(module) for _, module, _ in told[:_MOST_ROWS]), default=0)
        lines = [f"  {label:<10}  {module:<{width}}  {names}" for label, module, names in told]
        rest = len(lines) - _MOST_ROWS
        return lines[:_MOST_ROWS] + [f"  and {rest} rows more"] * (rest > 0)


def load_weights(model: nn.Module, path: str | Path, *, trust: bool = False) -> LoadReport:
    """Fill a model from a checkpoint of halftrack, MMTracking, torchvision, timm or detectron2.

    A file of a sub-module (torchvision's ImageNet ResNet, a bare detector) goes where its keys fit
    best, for instance ``detector.backbone.``; of a file of more than the model (a tracker's, for a
    detector) the part that fits best is read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read or none of its keys fit.
    """
    path = Path(path)
    state = read_checkpoint(path, trust=trust)
    report = fill_weights(model, our_names(path, _tensors(state)), path)
    return replace(report, classes=_classes(state))


def _classes(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes that a checkpoint of halftrack states, none of another's."""
    found: Any = state
    for name in ("meta", "recipe", "data", "classes"):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, list | tuple):
        return ()
    # ImageNet's have their WordNet id beside the name.
    names = [each[0] if isinstance(each, list | tuple) and each else each for each in found]
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def check_complete(report: LoadReport, message: str) -> None:
    """Make sure that all of a model was filled with all of a file, or of the part that was read.

    Raises:
        ValueError: if a key is missing, left over or of another shape; begins with ``message``.
    """
    # A larger model's file fills a smaller one and leaves keys over.
    if report.missing or report.mismatched or report.unexpected:
        error = UserError(f"{message}: {report}")
        error.add_note("\n".join(report.table()))
        raise error


def fill_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> LoadReport:
    """Fill a model with the weights of a file, where they fit best.

    Raises:
        ValueError: if none of them fit, or they hold no numbers to compute with.
    """
    own = model.state_dict()
    part, prefix = _best_place(own, weights)
    weights = {key[len(part) :]: value for key, value in weights.items() if key.startswith(part)}
    fitting = {
        prefix + key: value
        for key, value in weights.items()
        if prefix + key in own and own[prefix + key].shape == value.shape
    }
    if not fitting:
        raise UserError(_fits_nowhere(path, type(model).__name__, own, weights, prefix))
    for name, value in fitting.items():
        check_values(path, name, value, own[name])
    loaded, unexpected, mismatched = [], [], []
    with torch.no_grad():
        for key, value in weights.items():
            name = prefix + key
            if name not in own:
                unexpected.append(key)
            elif name not in fitting:
                mismatched.append(f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}")
            else:
                own[name].copy_(value)
                loaded.append(name)
    filled = set(loaded) | {line.split(" ")[0] for line in mismatched}
    # num_batches_tracked counts BN's training steps; many published files predate it and nothing
    # reads it.
    missing = [
        name
        for name in own
        if name.startswith(prefix)
        and name not in filled
        and not name.endswith("num_batches_tracked")
    ]
    return LoadReport(
        prefix=prefix,
        part=part,
        loaded=tuple(loaded),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        mismatched=tuple(mismatched),
    )


def _fits_nowhere(
    path: Path, model: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], prefix: str
) -> str:
    """Error of a file of which no tensor fits, with keys and shapes of both sides."""
    shared = [key for key in weights if prefix + key in own]
    if shared:
        why = f"{len(shared)} of its {len(weights)} tensors have a name of the model's, but none "
        why += "has the same shape: is it of another width or number of classes?"
    elif weights:
        why = f"none of its {len(weights)} tensors has a name and shape of the model's"
    else:
        why = "it holds no tensors"
    theirs = {key: weights[key] for key in (shared or sorted(weights))[:3]}
    ours = {name: own[name] for name in ([prefix + key for key in shared] or list(own))[:3]}
    return (
        f"{path} fits nowhere in {model}: {why}; the file has {_shown(theirs)}, "
        f"the model {_shown(ours)}"
    )


def _shown(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{key} {tuple(value.shape)}" for key, value in tensors.items()) or "nothing"


def check_values(path: Path, name: str, value: Tensor, own: Tensor | None = None) -> None:
    """Make sure that a tensor of a file holds numbers to compute with.

    Args:
        path: the file.
        name: of the tensor.
        value: the tensor.
        own: the model's, if there is one; integers are then no weights.

    Raises:
        ValueError: for NaN and infinity, complex numbers, integers in the place of weights, and
            tensors without values, or with more of them than the file holds.
    """
    wrong = None
    if value.is_meta or value.is_quantized or value.layout is not torch.strided:
        wrong = "is no plain tensor: it is quantised, sparse or without values"
    elif value.nbytes > value.untyped_storage().nbytes():
        wrong = f"claims {value.nbytes:,} bytes and holds {value.untyped_storage().nbytes():,}"
    elif value.is_complex() or (
        own is not None and own.is_floating_point() and not value.is_floating_point()
    ):
        wrong = f"is of {value.dtype}, expected floating-point weights"
    elif value.is_floating_point() and not (finite := value.isfinite()).all():
        first = value[~finite][0].item()
        wrong = f"holds {first}, in {int((~finite).sum())} of {value.numel()} places"
    if wrong is not None:
        raise UserError(f"{path} cannot be used: {name} {wrong}; take an earlier checkpoint")


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, under whichever of the usual keys they lie."""
    for key in ("state_dict", "model", "blobs"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
            break
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


def _best_place(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[str, str]:
    """The part of the file and the path in the model between which most tensors match in shape."""
    parts = {"", *(key.partition(".")[0] + "." for key in weights)}
    places = [("", prefix) for prefix in _prefixes(own)] + [(part, "") for part in parts]

    def fitting(place: tuple[str, str]) -> int:
        part, prefix = place
        return sum(
            (name := prefix + key[len(part) :]) in own and own[name].shape == value.shape
            for key, value in weights.items()
            if key.startswith(part)
        )

    # The shortest wins a tie: a whole model's file belongs to the whole model.
    return max(sorted(places, key=lambda place: len(place[0] + place[1])), key=fitting)


def _prefixes(own: Mapping[str, Tensor]) -> set[str]:
    """Every module path of a model, with a dot behind."""
    paths = {""}
    for name in own:
        steps = name.split(".")
        paths.update(".".join(steps[:depth]) + "." for depth in range(1, len(steps)))
    return paths
