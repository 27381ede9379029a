"""A skipped step in a folder: everything it takes to run it again elsewhere, without pickle.

``bundle.json`` says what was run and what was found, ``tensors.safetensors`` holds the weights and
buffers before the step and its batches. ``checksum.txt`` has the checksum of both, in the format of
``b2sum -l 128``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from halftrack.bounds import shown
from halftrack.errors import MissingFileError, UserError
from halftrack.precision import Culprit, Precision

__all__ = ["ReplayBundle", "flatten", "read_bundle", "seal_bundle", "unflatten", "write_bundle"]

_JSON, _TENSORS, _SEAL = "bundle.json", "tensors.safetensors", "checksum.txt"


@dataclass(frozen=True, kw_only=True)
class ReplayBundle:
    """One skipped step, as it was before it was attempted."""

    recipe: dict[str, Any]
    """The recipe as plain values."""
    precision: Precision
    """Precision of the step."""
    loss_scale: float
    """The scale it used."""
    step: int
    """Number of the attempt in the run, from 1 on."""
    epoch: int
    """Epoch of the step, from 0 on: decides which parameters train."""
    batches: tuple[Any, ...]
    """Batches of the step, in order, on the CPU."""
    seeds: tuple[int, ...]
    """Seed of all random numbers, for each batch: ``torch.manual_seed`` before its forward pass."""
    weights: dict[str, Tensor]
    """The model's state dict before the step."""
    device: str
    """Device that computed the step."""
    culprit: Culprit | None
    """Culprit that was found; None if the step was finite when it was run again."""
    versions: dict[str, str | None]
    """Versions of the code and libraries."""


def write_bundle(bundle: ReplayBundle, folder: Path) -> None:
    """Write a bundle; the folder is at every moment absent, the old one or the whole new one.

    Raises:
        TypeError: if a batch holds what is neither a tensor nor plain.
        OSError: if it cannot be written, as on a full disk.
    """
    tensors: dict[str, Tensor] = {f"weights.{k}": v for k, v in bundle.weights.items()}
    trees = []
    for index, batch in enumerate(bundle.batches):
        tree, own = flatten(batch, f"batches.{index}")
        trees.append(tree)
        tensors |= own
    plain = {
        "recipe": bundle.recipe,
        "precision": dataclasses.asdict(bundle.precision),
        "loss_scale": bundle.loss_scale,
        "step": bundle.step,
        "epoch": bundle.epoch,
        "seeds": list(bundle.seeds),
        "device": bundle.device,
        "batches": trees,
        "culprit": None if bundle.culprit is None else bundle.culprit.to_dict(),
        "versions": bundle.versions,
    }
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_files(partial, json.dumps(plain, indent=2, allow_nan=False), tensors)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # half of it would keep a full disk full
        raise


def _write_files(folder: Path, text: str, tensors: Mapping[str, Tensor]) -> None:
    folder.parent.mkdir(exist_ok=True)  # not a run's that is away: it will come back
    folder.mkdir()
    (folder / _JSON).write_text(text + "\n", encoding="utf-8")
    # Copies: the format refuses tensors that share memory.
    copies = {
        name: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    try:
        save_file(copies, folder / _TENSORS)
    except SafetensorError as error:  # no class of Python's, for a full disk too
        raise OSError(f"{folder / _TENSORS}: {error}") from error
    seal_bundle(folder)


def seal_bundle(folder: Path) -> None:
    """Write the checksum of a bundle's files; needed again after one was changed on purpose."""
    (folder / _SEAL).write_text(_checksums(folder), encoding="utf-8")


def read_bundle(
    folder: Path, batch_types: Callable[[Mapping[str, Any]], Sequence[type]]
) -> ReplayBundle:
    """Read a bundle, on the CPU.

    Args:
        folder: where it lies.
        batch_types: gives the dataclasses that batches of a recipe are made of; called with the
            recipe's plain values.

    Raises:
        FileNotFoundError: if there is no bundle.
        ValueError: if it is damaged or of another version, or its batches are of other types.
    """
    for name in (_JSON, _TENSORS, _SEAL):
        if not (folder / name).is_file():
            raise MissingFileError(f"no replay bundle in {folder}: {name} is missing")
    if (folder / _SEAL).read_bytes() != _checksums(folder).encode():
        raise UserError(
            f"{folder} is damaged: its files do not match {_SEAL}; take a fresh copy of the folder"
        )
    try:
        plain = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        tensors = load_file(folder / _TENSORS)
        types = batch_types(plain["recipe"])
        precision = plain["precision"]
        found = plain["culprit"]
        prefix = "weights."
        return ReplayBundle(
            recipe=plain["recipe"],
            precision=Precision(**precision | {"keep_fp32": tuple(precision["keep_fp32"])}),
            loss_scale=plain["loss_scale"],
            step=plain["step"],
            epoch=plain["epoch"],
            batches=tuple(unflatten(tree, tensors, types) for tree in plain["batches"]),
            seeds=tuple(plain["seeds"]),
            device=plain["device"],
            weights={
                name.removeprefix(prefix): value
                for name, value in tensors.items()
                if name.startswith(prefix)
            },
            culprit=None if found is None else Culprit.from_dict(found),
            versions=plain["versions"],
        )
    except UserError:
        raise
    except Exception as error:  # another version's files differ in any way
        reason = shown(f"{type(error).__name__}: {error}")
        raise UserError(f"{folder} is no replay bundle of this version: {reason}") from error


def _checksums(folder: Path) -> str:
    """A line for each of the two files, as ``b2sum`` writes and checks them."""
    lines = []
    for name in (_JSON, _TENSORS):
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        lines.append(f"{found.hexdigest()}  {name}\n")
    return "".join(lines)


def flatten(value: Any, name: str) -> tuple[Any, dict[str, Tensor]]:
    """A value of dataclasses, tuples, lists, tensors and plain values as JSON and named tensors.

    Raises:
        TypeError: for anything else; names the place.
    """
    tensors: dict[str, Tensor] = {}

    def plain(part: Any, place: str) -> Any:
        if isinstance(part, Tensor):
            tensors[place] = part
            return {"tensor": place}
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            inside = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
            values = {key: plain(item, f"{place}.{key}") for key, item in inside.items()}
            return {"kind": type(part).__name__, "fields": values}
        if type(part) in (tuple, list):
            items = [plain(item, f"{place}.{index}") for index, item in enumerate(part)]
            return {type(part).__name__: items}
        if isinstance(part, float) and not math.isfinite(part):
            return {"float": str(part)}
        if part is None or isinstance(part, bool | int | float | str):
            return part
        raise TypeError(
            f"{place} is a {type(part).__name__}; a replay bundle holds dataclasses, tuples, "
            "lists, tensors and plain values"
        )

    return plain(value, name), tensors


def unflatten(tree: Any, tensors: Mapping[str, Tensor], kinds: Sequence[type]) -> Any:
    """Rebuilds what ``flatten`` was given.

    Raises:
        ValueError: for a dataclass that is not among ``kinds``; lists those.
    """
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "float" in tree:
        return float(tree["float"])
    if "kind" in tree:
        known = {kind.__name__: kind for kind in kinds}
        if tree["kind"] not in known:
            raise UserError(
                f"no batch type {tree['kind']!r}; there are {', '.join(known) or 'none'}: name all "
                "dataclasses of a batch in the recipe's batch_types"
            )
        fields = {k: unflatten(item, tensors, kinds) for k, item in tree["fields"].items()}
        return known[tree["kind"]](**fields)
    ((sequence, items),) = tree.items()
    parts = (unflatten(item, tensors, kinds) for item in items)
    return tuple(parts) if sequence == "tuple" else list(parts)
