"""A checkpoint for others: its weights and what they are of, with a hash in the file's name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from halftrack.errors import UserError
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import write_checkpoint
from halftrack.training.files.weights import check_values

__all__ = ["publish"]


def publish(checkpoint: Path, out: Path | None = None) -> Path:
    """Write a checkpoint's weights and ``meta`` alone, as ``NAME-HASH.pth``; returns the file.

    HASH is the first 8 digits of the file's SHA-256, as in the names of MMTracking's files.

    Args:
        checkpoint: of halftrack or MMTracking.
        out: the file's name without the hash; None for the recipe's name, beside the checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read safely, holds no weights, or weights that are not finite.
        OSError: if the new file cannot be written.
    """
    state = read_checkpoint(checkpoint)
    meta, weights = state.get("meta"), state.get("state_dict")
    if not isinstance(meta, dict) or not isinstance(weights, dict):
        raise UserError(f"{checkpoint} is no checkpoint with meta and state_dict, as runs write it")
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{checkpoint} holds no weights")
    for key, value in tensors.items():
        check_values(checkpoint, key, value)
    name = out or checkpoint.with_name(_name(meta, checkpoint))
    partial = name.with_name(name.name.removesuffix(".pth") + ".unnamed")
    write_checkpoint(partial, {"meta": meta, "state_dict": weights})
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    final = name.with_name(f"{name.name.removesuffix('.pth')}-{digest[:8]}.pth")
    partial.replace(final)
    return final


def _name(meta: Mapping[str, Any], checkpoint: Path) -> str:
    recipe = meta.get("recipe")
    name = recipe.get("name") if isinstance(recipe, Mapping) else None
    return name if isinstance(name, str) and Path(name).name == name else checkpoint.stem
