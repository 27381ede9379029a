"""A run's optimizer, loss scale and place in its epochs, as mmcv 1.x writes them.

The inverse of ``read_continuation``: MMTracking resumes from such a file, and so does
``halftrack train --resume-from``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halftrack.errors import UserError
from halftrack.training.same_run import EPOCH, batches_done

__all__ = ["mmcv_state"]

_SETTINGS = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
# GradScaler's own, for a state that has none: mmcv sets a static scale anew at each step.
_SCALER = {"growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}


def mmcv_state(
    file: Path, state: Mapping[str, Any], parameters: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Additions to ``meta``, and the optimizer's state; None for a file of weights alone.

    Args:
        file: the checkpoint, for messages.
        state: what it holds.
        parameters: names of the model's, in its order, in which mmcv numbers them.

    Raises:
        ValueError: if an epoch is not over yet, for MMTracking resumes between epochs, if the file
            does not say how long an epoch is, or if the optimizer is of another model.
    """
    if "position" not in state or "optimizer" not in state:
        return None
    position, meta = state["position"], state["meta"]
    length = meta.get("data", {}).get(EPOCH, {}).get("batches")
    if not length:
        raise UserError(
            f"{file} does not say how many batches an epoch has, as MMTracking's must: go on from "
            "it once (halftrack train, the same --out) and name a checkpoint that this run "
            "writes, or best.pth for the weights alone"
        )
    epochs, rest = divmod(batches_done(position), int(length))
    if rest:
        raise UserError(
            f"{file} was written in epoch {epochs + 1}, {rest} of {length} batches done, and "
            "MMTracking goes on between epochs: name a file from the end of one, or best.pth for "
            "the weights alone"
        )
    added: dict[str, Any] = {"epoch": epochs, "iter": position["steps"]}
    scale = _scaler(state["loss_scale"])
    if scale is not None:
        added["fp16"] = {"loss_scaler": scale}
    return added, _optimizer(file, state["optimizer"], state["schedule"], parameters)


def _optimizer(
    file: Path,
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    parameters: Sequence[str],
) -> dict[str, Any]:
    """SGD's state with parameters in the model's order, in one group or each in its own."""
    places = {name: place for place, name in enumerate(parameters)}
    settings: dict[int, dict[str, Any]] = {}
    buffers: dict[int, dict[str, Any]] = {}
    for group, base in zip(optimizer["param_groups"], schedule["base_rates"], strict=True):
        own = {name: group[name] for name in _SETTINGS} | {"initial_lr": base}
        for index, name in zip(group["params"], group["param_names"], strict=True):
            if name not in places:
                raise UserError(f"{file}: its optimizer has a parameter {name}, the model has none")
            settings[places[name]] = own
            momentum = optimizer["state"].get(index, {}).get("momentum_buffer")
            if momentum is not None:
                buffers[places[name]] = {"momentum_buffer": momentum.detach().cpu()}
    if len(settings) != len(parameters):
        raise UserError(
            f"{file}: its optimizer has {len(settings)} parameters, the model {len(parameters)}"
        )
    order = sorted(settings)
    if len(optimizer["param_groups"]) == 1:
        groups = [{**settings[0], "params": order}]
    else:  # as with paramwise_cfg
        groups = [{**settings[place], "params": [place]} for place in order]
    return {"state": {place: buffers[place] for place in sorted(buffers)}, "param_groups": groups}


def _scaler(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state of torch's GradScaler, which mmcv keeps; None for a run without a loss scale."""
    if state["kind"] == "none":
        return None
    moves = {name: state.get(name, usual) for name, usual in _SCALER.items()}
    return {"scale": float(state["scale"]), **moves, "_growth_tracker": state.get("clean_steps", 0)}
