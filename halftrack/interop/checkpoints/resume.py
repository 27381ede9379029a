"""Training checkpoints of MMTracking, translated so that a run here goes on from them.

mmcv 1.x numbers the optimizer's parameters in the order of the model's, all in one group or each
in a group of its own, and keeps the state of the loss scale in ``meta['fp16']``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from halftrack.bounds import shown
from halftrack.errors import UserError
from halftrack.training import read_checkpoint
from halftrack.training.continuation import Continuation
from halftrack.training.files.weights import check_values

__all__ = ["read_continuation"]

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_DEFAULTS = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}


def read_continuation(path: Path, *, trust: bool = False) -> Continuation:
    """Read a training checkpoint of MMTracking for ``halftrack.recipes.train(start=...)``.

    Args:
        path: a file that mmcv's runner saved at the end of an epoch.
        trust: unpickle arbitrary objects too; runs code the file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or a part of it is missing or malformed; names the part.
    """
    state = read_checkpoint(path, trust=trust)
    if "position" in state and "schedule" in state:
        raise UserError(
            f"{path} is a checkpoint of halftrack: its run goes on with the command that began it, "
            "without --resume-from and with the run's folder as --out"
        )
    meta = _part(path, state, "meta", Mapping)
    weights = _part(path, state, "state_dict", Mapping)
    if "optimizer" not in state:
        raise UserError(
            f"{path} has no optimizer state, as files that were published: start a new run from "
            "its weights with --init"
        )
    optimizer = _part(path, state, "optimizer", Mapping)
    names = [
        str(name)
        for name, value in weights.items()
        if isinstance(value, Tensor) and not str(name).endswith(_BUFFERS)
    ]
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}
    momentum = _momentum(path, optimizer, names)
    for what, values in (("", tensors), ("the momentum of ", momentum)):
        for name, value in values.items():
            check_values(path, f"{what}{name}", value)
    return Continuation(
        file=path,
        weights=tensors,
        epochs_finished=_count(path, meta, "epoch"),
        steps=_count(path, meta, "iter"),
        settings=_settings(path, optimizer, names),
        momentum=momentum,
        loss_scale=_loss_scale(path, meta),
    )


def _settings(
    path: Path, optimizer: Mapping[str, Any], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """SGD's settings by parameter name."""
    found: dict[str, dict[str, Any]] = {}
    place = "optimizer.param_groups"
    for group in _part(path, optimizer, "param_groups", list, place):
        own = {name: _number(path, group, name, default) for name, default in _DEFAULTS.items()}
        # Where a schedule moved the rate, what it started from lies beside it.
        own["base_lr"] = _number(path, group, "initial_lr", _number(path, group, "lr"))
        own["nesterov"] = bool(own["nesterov"])
        for index in _part(path, group, "params", list, f"{place}.params"):
            if not isinstance(index, int) or not 0 <= index < len(names):
                raise UserError(
                    f"{path}: its optimizer has a parameter {shown(index)}, its state_dict has "
                    f"{len(names)} parameters: they are of different models"
                )
            found[names[index]] = own
    if len(found) != len(names):
        raise UserError(
            f"{path}: its optimizer has {len(found)} parameters, its state_dict {len(names)}: they "
            "are of different models"
        )
    return found


def _momentum(path: Path, optimizer: Mapping[str, Any], names: Sequence[str]) -> dict[str, Tensor]:
    """Momentum buffers by parameter name; frozen parameters have none."""
    found = {}
    for index, own in _part(path, optimizer, "state", Mapping, "optimizer.state").items():
        known = isinstance(index, int) and 0 <= index < len(names)
        if not known or not isinstance(own, Mapping) or set(own) - {"momentum_buffer"}:
            raise UserError(
                f"{path}: optimizer.state[{shown(index)}] is no state of SGD, whose only one is "
                "momentum_buffer; only SGD is continued here"
            )
        buffer = own.get("momentum_buffer")
        if isinstance(buffer, Tensor):
            found[names[index]] = buffer
    return found


def _loss_scale(path: Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """The loss scale's state in the form of torch's GradScaler; None for a run in fp32."""
    if "fp16" not in meta:
        return None
    place = "meta.fp16.loss_scaler"
    state = _part(
        path, _part(path, meta, "fp16", Mapping, "meta.fp16"), "loss_scaler", Mapping, place
    )
    if "cur_scale" not in state:
        names = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
        return {name: _number(path, state, name) for name in names}
    # mmcv's own scaler, of torch before 1.6.
    since = int(_number(path, state, "cur_iter") - _number(path, state, "last_overflow_iter")) - 1
    window = max(int(_number(path, state, "scale_window")), 1)
    growth = _number(path, state, "scale_factor")
    return {
        "scale": _number(path, state, "cur_scale"),
        "growth_factor": growth,
        "backoff_factor": 1 / growth if growth else growth,
        "growth_interval": window,
        "_growth_tracker": since % window,
    }


def _part(path: Path, state: Any, name: str, kind: type, place: str | None = None) -> Any:
    value = state.get(name) if isinstance(state, Mapping) else None
    if not isinstance(value, kind):
        raise UserError(
            f"{path} is no training checkpoint of MMTracking: its {place or name} is "
            f"{shown(value)}, expected a {kind.__name__.lower()}"
        )
    return value


def _count(path: Path, meta: Mapping[str, Any], name: str) -> int:
    value = meta.get(name)
    if type(value) is not int or not 0 <= value < 10**9:
        raise UserError(f"{path}: meta.{name} is {shown(value)}, expected a count")
    return value


def _number(path: Path, values: Any, name: str, default: float | None = None) -> float:
    value = values.get(name, default) if isinstance(values, Mapping) else None
    if not isinstance(value, int | float) or not -1 <= value < math.inf:
        raise UserError(f"{path}: {name} is {shown(value)}, expected a number")
    return value
