"""Trainers of Lightning, transformers and Accelerate, made to train in half precision on a CPU.

On their own they train in another precision there, with a warning at most: Lightning's 16-mixed is
bf16, ``fp16`` of the other two is fp32 without a scaler. The trainer is given, so nothing of these
packages is imported here before it has been.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from halftrack.errors import UserError
from halftrack.precision import Precision

__all__ = ["training_in"]

_PREPARED = ("forward", "_original_forward", "_is_accelerate_prepared")
_HELD = ("_models", "_optimizers", "_schedulers", "_dataloaders")
"""Lists of an ``Accelerator`` of all that it has prepared."""


@contextmanager
def training_in(precision: Precision, trainer: Any, model: nn.Module) -> Iterator[None]:
    """Let a framework's trainer train a model in this precision, inside the context.

    It gets the autocast region and the ``GradScaler`` that it would have on a GPU, whatever
    precision it was made with; a scaler of the user's own is kept. Trainer and model are put back.

    Args:
        precision: of the training.
        trainer: a ``Trainer`` of Lightning or transformers, or an ``Accelerator``.
        model: the model that it trains; with an ``Accelerator`` not prepared yet.

    Raises:
        UserError: for a trainer of another kind, on another device, of several processes, and for
            a model that was prepared before.
    """
    own, *bases = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(trainer).__mro__)
    known = next((name for name in (own, *bases) if name in _FRAMEWORKS), None)
    if known is None:
        raise UserError(
            f"trainer of type {own}: expected a Trainer of lightning, pytorch_lightning or "
            "transformers, or an Accelerator of accelerate"
        )
    with _FRAMEWORKS[known](precision, trainer, model):
        yield


def _check_place(device: torch.device, processes: int, how: str) -> None:
    if device.type != "cpu" or processes != 1:
        raise UserError(
            f"the trainer trains on {device} in {processes} "
            f"process{'' if processes == 1 else 'es'}: expected one on the CPU, as of {how}"
        )


@contextmanager
def _lightning(
    plugins_of: str, precision: Precision, trainer: Any, model: nn.Module
) -> Iterator[None]:
    strategy = trainer.strategy
    _check_place(strategy.root_device, trainer.world_size, 'Trainer(accelerator="cpu", devices=1)')
    plugins = importlib.import_module(plugins_of)
    name = {"fp16": "16-mixed", "bf16": "bf16-mixed", "tf32": "32-true"}[precision.name]
    before = strategy.precision_plugin
    if before.precision != name:
        scaler = torch.amp.GradScaler("cpu") if precision.name == "fp16" else None
        strategy.precision_plugin = (
            plugins.MixedPrecision(name, "cpu", scaler)
            if precision.is_half
            else plugins.Precision()
        )
    try:
        yield
    finally:
        strategy.precision_plugin = before


@contextmanager
def _accelerate(precision: Precision, accelerator: Any, model: nn.Module) -> Iterator[None]:
    _check_place(accelerator.device, accelerator.num_processes, "Accelerator(cpu=True)")
    if accelerator._optimizers or "_is_accelerate_prepared" in vars(model):
        raise UserError(
            "model or optimizer were prepared before, in the trainer's own precision: call "
            "accelerator.prepare inside halftrack.watching; of transformers, make a new Trainer"
        )
    state, handler = accelerator.state, accelerator.scaler_handler
    before = state._mixed_precision, accelerator.native_amp, accelerator.scaler
    held = {name: list(getattr(accelerator, name)) for name in _HELD}
    kept = {name: vars(model)[name] for name in _PREPARED if name in vars(model)}
    state._mixed_precision = precision.name if precision.is_half else "no"
    accelerator.native_amp = precision.is_half
    accelerator.scaler = None
    if precision.name == "fp16":
        accelerator.scaler = torch.amp.GradScaler("cpu", **(handler.to_kwargs() if handler else {}))
    try:
        yield
    finally:
        state._mixed_precision, accelerator.native_amp, accelerator.scaler = before
        for optimizer in accelerator._optimizers:
            optimizer.scaler = accelerator.scaler  # a step outside would unscale for nothing
        for name, prepared_before in held.items():
            getattr(accelerator, name)[:] = prepared_before
        for name in _PREPARED:
            vars(model).pop(name, None)
        vars(model).update(kept)


@contextmanager
def _transformers(precision: Precision, trainer: Any, model: nn.Module) -> Iterator[None]:
    before = trainer.optimizer, trainer.lr_scheduler
    try:
        with _accelerate(precision, trainer.accelerator, model):
            yield
    finally:
        trainer.optimizer, trainer.lr_scheduler = before  # those inside were of this precision


_FRAMEWORKS: dict[str, Callable[[Precision, Any, nn.Module], AbstractContextManager[None]]] = {
    "lightning.pytorch.trainer.trainer.Trainer": partial(_lightning, "lightning.pytorch.plugins"),
    "pytorch_lightning.trainer.trainer.Trainer": partial(_lightning, "pytorch_lightning.plugins"),
    "transformers.trainer.Trainer": _transformers,
    "accelerate.accelerator.Accelerator": _accelerate,
}
