"""A model in the formats of others: MMTracking's checkpoint, safetensors, TorchScript."""

from __future__ import annotations

import colorsys
import json
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from halftrack import __version__
from halftrack.bounds import shown
from halftrack.errors import MissingFileError, UserError
from halftrack.interop.checkpoints.torchscript import write_torchscript
from halftrack.interop.checkpoints.training_state import mmcv_state
from halftrack.recipes import Recipe
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import newest_checkpoint, whole_file, write_checkpoint

__all__ = ["FORMATS", "export", "recipe_of", "weights_file"]

FORMATS = ("mmtracking", "safetensors", "torchscript")
"""Names of the formats."""
_MMTRACKING = "0.14.0"  # whose keys and shapes ours equal


def weights_file(run: Path) -> Path:
    """The checkpoint of a run's folder that is exported: the best, or else the newest.

    Args:
        run: the folder, or a checkpoint, which is returned as it is.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not run.is_dir():
        if run.is_file():
            return run
        raise MissingFileError(f"there is no run or checkpoint {run}")
    best = run / "best.pth"
    return best if best.is_file() else newest_checkpoint(run)[0]


def recipe_of(file: str | Path) -> Recipe:
    """The recipe that a checkpoint of ours, or the run in a folder, was trained with.

    Raises:
        ValueError: if the file does not say, or its recipe is of another version.
    """
    file = Path(file)
    meta = read_checkpoint(weights_file(file) if file.is_dir() else file).get("meta")
    values = meta.get("recipe") if isinstance(meta, dict) else None
    if isinstance(values, str):  # of a safetensors file, whose metadata is text
        try:
            values = json.loads(values)
        except ValueError:
            values = None
    if not isinstance(values, dict):
        raise UserError(f"{file} does not say its recipe: name it with --recipe")
    return Recipe.from_dict(values)


def export(
    recipe: Recipe, model: nn.Module, out: Path, form: str, *, checkpoint: Path | None = None
) -> bool:
    """Write a model's weights; returns whether a training can go on from the file.

    MMTracking loads its file as a checkpoint of its own: the same keys in the same order, with
    the names of the classes and a colour for each in ``meta``.

    Args:
        recipe: what the model is of; it is kept beside the weights.
        model: with the weights.
        out: the file.
        form: a name of ``FORMATS``.
        checkpoint: the file of the weights: MMTracking's takes its optimizer and loss scale too.

    Raises:
        ValueError: for a format that is not among them or not offered of the model, and a
            checkpoint in the middle of an epoch.
        OSError: if the file cannot be written.
    """
    if form not in FORMATS:
        raise UserError(f"format {shown(form)} is not one of {', '.join(FORMATS)}")
    if form == "torchscript":
        write_torchscript(recipe, model, out)
        return False
    weights = OrderedDict(
        (name, value.detach().cpu().contiguous()) for name, value in model.state_dict().items()
    )
    # Data of single targets and of individuals name none.
    classes = tuple(getattr(recipe.data, "class_names", ()))
    if form == "mmtracking":
        meta: dict[str, Any] = {
            "mmtrack_version": _MMTRACKING,
            "halftrack_version": __version__,
            "exp_name": recipe.name,
            "time": time.asctime(),
            "recipe": recipe.to_dict(),
        }
        if classes:
            meta |= {"CLASSES": classes, "PALETTE": _palette(len(classes))}
        content: dict[str, Any] = {"meta": meta, "state_dict": weights}
        names = [name for name, _ in model.named_parameters()]
        trained = mmcv_state(checkpoint, read_checkpoint(checkpoint), names) if checkpoint else None
        if trained is not None:
            added, content["optimizer"] = trained
            meta |= added
        write_checkpoint(out, content)
        return trained is not None
    metadata = {
        "format": "pt",
        "halftrack_version": __version__,
        "recipe": json.dumps(recipe.to_dict()),
        "classes": json.dumps(classes),
    }
    with whole_file(out) as partial:
        save_file(dict(weights), partial, metadata=metadata)
    return False


def _palette(count: int) -> list[tuple[int, int, int]]:
    """Colours of the classes, RGB, as far apart in hue as they can be."""
    hues = torch.arange(count).div(count).tolist()
    colours = (colorsys.hsv_to_rgb(hue, 0.75, 0.9) for hue in hues)
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours]
