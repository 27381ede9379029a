"""Device and memory layout of a run, and the line that says how it computes."""

from __future__ import annotations

import ctypes

import torch
from torch import nn

from halftrack.precision import Precision
from halftrack.training.compilation import compiled
from halftrack.training.config import TrainingConfig
from halftrack.training.ranks import ALONE, Ranks

__all__ = ["computation", "placed"]

# glibc's numbers of two settings, and the most that it accepts for each.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, 2**31 - 1), (-3, 2**25)


def placed(
    model: nn.Module, config: TrainingConfig, precision: Precision, device: torch.device
) -> nn.Module:
    """The model on its device, in the memory layout it trains in, compiled, and in training mode.

    On a CPU the process keeps from now on the memory that it frees.

    Raises:
        UserError: if it is to be compiled and no part of it can be.
    """
    if device.type == "cpu":
        _keep_freed_memory()
    last = _is_channels_last(config, precision, device)
    layout = torch.channels_last if last else torch.preserve_format
    moved: nn.Module = model.to(device, memory_format=layout)  # type: ignore[call-overload]
    return compiled(moved.train(), config)


def computation(
    model: nn.Module,
    config: TrainingConfig,
    precision: Precision,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> str:
    """A line that says how a run of a placed model computes."""
    tf32 = "on" if precision.name == "tf32" else "off"
    last = _is_channels_last(config, precision, device)
    layout = "channels last" if last else "channels first"
    if getattr(model, "backbone_channels_last", False):
        layout += ", the backbone channels last"
    mode = "" if config.compile == "none" else f"; compiled ({config.compile})"
    if ranks.size > 1:
        share = ranks.share(config.accumulate, of="training.accumulate")
        mode += f"; {ranks.size} processes, {share} of a step's batches each"
    return f"computes on {device} in {precision.in_words(device)}; TF32 {tf32}; {layout}{mode}"


def _keep_freed_memory() -> None:
    """Let the process keep the memory that a step frees: the next step needs as much again.

    glibc returns it to the system, which must clear every page before it comes back: 5 to 20% of
    a step's time. Other C libraries stay as they are.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            set_option(*option)


def _is_channels_last(config: TrainingConfig, precision: Precision, device: torch.device) -> bool:
    """True as the recipe says, or else in half on a GPU, whose kernels are faster so."""
    if config.channels_last is None:
        return precision.is_half and device.type != "cpu"
    return config.channels_last
