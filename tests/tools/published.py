"""Checkpoints with the structure of MMTracking's published ones, and pickles that run code."""

from __future__ import annotations

import datetime
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
# As torch.amp.GradScaler writes it.
SCALER = {
    "scale": 128.0,
    "growth_factor": 2.0,
    "backoff_factor": 0.5,
    "growth_interval": 2000,
    "_growth_tracker": 17,
}


class ConfigDict(dict[str, Any]):
    """Pickled as mmcv's: its items as arguments, and itself as its state."""

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self.items())

    def __getstate__(self) -> Any:
        return self

    def __setstate__(self, state: Any) -> None:
        self.update(state)


@contextmanager
def mmcv() -> Iterator[type[ConfigDict]]:
    """The class as it is found where mmcv is installed."""
    modules = {name: ModuleType(name) for name in ("mmcv", "mmcv.utils", "mmcv.utils.config")}
    modules["mmcv.utils.config"].ConfigDict = ConfigDict  # type: ignore[attr-defined]
    was = ConfigDict.__module__
    ConfigDict.__module__ = "mmcv.utils.config"
    sys.modules.update(modules)
    try:
        yield ConfigDict
    finally:
        ConfigDict.__module__ = was
        for name in modules:
            del sys.modules[name]


def published(
    weights: Mapping[str, Tensor],
    *,
    lr: float | Sequence[float] = 0.01,
    momentum: float = 0.9,
    with_momentum: Sequence[str] | None = None,
    epoch: int = 2,
    iteration: int = 8,
    scaler: Mapping[str, Any] | None = SCALER,
) -> dict[str, Any]:
    """A training checkpoint of mmcv's runner.

    Args:
        weights: state dict, in the model's order.
        lr: of all parameters in one group, or a rate for each in a group of its own.
        momentum: SGD's.
        with_momentum: parameters that have been stepped; None for all.
        epoch: finished.
        iteration: steps taken.
        scaler: of an fp16 run; None for another.
    """
    names = [name for name in weights if not name.endswith(NOT_PARAMETERS)]
    rates = [lr] if isinstance(lr, float) else list(lr)
    members = (
        [list(range(len(names)))] if isinstance(lr, float) else [[i] for i in range(len(names))]
    )
    groups = [
        {
            "lr": rate / 10,  # where a schedule had taken it
            "momentum": momentum,
            "dampening": 0,
            "weight_decay": 1e-4,
            "nesterov": False,
            "initial_lr": rate,
            "params": own,
        }
        for rate, own in zip(rates, members, strict=True)
    ]
    stepped = names if with_momentum is None else with_momentum
    state = {
        index: {"momentum_buffer": torch.full_like(weights[name], 0.001 * (index + 1))}
        for index, name in enumerate(names)
        if name in stepped
    }
    meta: dict[str, Any] = {
        "env_info": "sys.platform: linux\nPyTorch: 1.7.1",
        "config": "model = dict(\n    type='SELSA')\n",
        "seed": None,
        "exp_name": "selsa.py",
        "mmtrack_version": "0.14.0",
        "mmcv_version": "1.7.2",
        "time": "Sat Feb 27 14:16:30 2021",
        "written": datetime.datetime(2021, 2, 27, 14, 16, 30),
        "CLASSES": ("airplane", "antelope"),
        "epoch": epoch,
        "iter": iteration,
        "hook_msgs": {"best_score": np.float64(0.787), "best_epoch": np.int64(2)},
        "anchors": np.arange(6, dtype=np.float32).reshape(2, 3),
        "dtype": np.dtype("float32"),
    }
    if scaler is not None:
        meta["fp16"] = {"loss_scaler": dict(scaler)}
    with mmcv() as config:
        meta["cfg"] = config(model=config(type="SELSA", depth=50), steps=[2, 5])
    kept = OrderedDict(weights)
    kept._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return {
        "meta": meta,
        "state_dict": kept,
        "optimizer": {"state": state, "param_groups": groups},
    }


def save_published(path: Path, state: Mapping[str, Any], **how: Any) -> Path:
    """Write a checkpoint where mmcv is at hand."""
    with mmcv():
        torch.save(dict(state), path, **how)
    return path


class RunsCode:
    """A value whose pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)
