"""Trainers of other frameworks train in what is rehearsed: the contract, with small stand-ins.

The frameworks themselves are no dependency of the tests: ``benchmarks/frameworks.py`` runs them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.rehearsing import Report, watching

CPU = torch.device("cpu")
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3
STEPS = 4


class Net(nn.Module):
    """Its gradients overflow in fp16 until the loss scale has come down."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.head = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.cross_entropy(self.head(self.trunk(x).relu()) * 16.0, LABELS)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-3)


class LightningPlugin:
    """Lightning's ``Precision`` and ``MixedPrecision``."""

    def __init__(self, precision: str = "32-true", device: str = "", scaler: Any = None) -> None:
        self.precision, self.device, self.scaler = precision, device, scaler


class LightningTrainer:
    """Of Lightning, as far as it decides on precision."""

    def __init__(self, *, plugin: LightningPlugin | None = None, device: str = "cpu") -> None:
        self.world_size = 1
        plugin = plugin or LightningPlugin()
        self.strategy = SimpleNamespace(root_device=torch.device(device), precision_plugin=plugin)

    @property
    def state(self) -> Any:
        return self.strategy.precision_plugin

    def train(self, model: nn.Module) -> None:
        plugin, optimizer = self.strategy.precision_plugin, sgd(model)
        dtype = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(plugin.precision)
        for _ in range(STEPS):
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                loss = model(X)
            if plugin.scaler is None:
                loss.backward()
                optimizer.step()
            else:
                plugin.scaler.scale(loss).backward()
                plugin.scaler.step(optimizer)
                plugin.scaler.update()
            optimizer.zero_grad()


class AcceleratedOptimizer:
    def __init__(self, optimizer: torch.optim.Optimizer, scaler: Any) -> None:
        self.optimizer, self.scaler = optimizer, scaler

    def step(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()


class Accelerator:
    """Of Accelerate, on a CPU: whatever it is asked for, it trains in fp32 without a scaler."""

    def __init__(self, *, device: str = "cpu", init_scale: float | None = None) -> None:
        self.device, self.num_processes = torch.device(device), 1
        self._mixed = SimpleNamespace(_mixed_precision="fp16")
        self.native_amp, self.scaler = False, None
        kwargs = {"init_scale": init_scale}
        self.scaler_handler = SimpleNamespace(to_kwargs=lambda: kwargs) if init_scale else None
        self._models, self._schedulers = list[nn.Module](), list[Any]()
        self._optimizers: list[AcceleratedOptimizer] = []
        self._dataloaders = ["prepared before"]

    @property
    def state(self) -> Any:
        return self._mixed

    def prepare(self, model: Any, optimizer: torch.optim.Optimizer) -> AcceleratedOptimizer:
        model._is_accelerate_prepared = True
        if self.native_amp:
            dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
            model._original_forward = model.forward
            region = torch.autocast("cpu", dtypes[self.state._mixed_precision])
            model.forward = MethodType(region(type(model).forward), model)
        self._models.append(model)
        self._dataloaders.append("prepared inside")
        self._optimizers.append(AcceleratedOptimizer(optimizer, self.scaler))
        return self._optimizers[-1]

    def train(self, model: nn.Module) -> None:
        optimizer = self.prepare(model, sgd(model))
        for _ in range(STEPS):
            loss = model(X)
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            optimizer.step()


class TransformersTrainer:
    """Of transformers: its loop is that of an ``Accelerator``."""

    def __init__(self, *, device: str = "cpu") -> None:
        self.accelerator = Accelerator(device=device)
        self.optimizer = self.lr_scheduler = None

    @property
    def state(self) -> Any:
        return self.accelerator.state._mixed_precision

    def train(self, model: nn.Module) -> None:
        self.accelerator.train(model)
        self.optimizer = self.lr_scheduler = self.accelerator._optimizers[-1]  # type: ignore


TRAINERS: list[Any] = [LightningTrainer, Accelerator, TransformersTrainer]
THEIRS = (
    "lightning.pytorch.trainer.trainer.Trainer",
    "accelerate.accelerator.Accelerator",
    "transformers.trainer.Trainer",
)
for kind, place in zip(TRAINERS, THEIRS, strict=True):
    kind.__module__, _, kind.__qualname__ = place.rpartition(".")


@pytest.fixture(autouse=True)
def lightnings_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = SimpleNamespace(MixedPrecision=LightningPlugin, Precision=LightningPlugin)
    monkeypatch.setitem(sys.modules, "lightning.pytorch.plugins", plugins)


def plain(precision: str) -> Report:
    """A loop of one's own with the same model and data."""
    model = Net()
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    with watching(model, precision=precision) as watch:
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", enabled=precision == "fp16")
        for _ in range(STEPS):
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                loss = model(X)
            if precision == "fp16":
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
            optimizer.zero_grad()
    return watch.report


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
@pytest.mark.parametrize("kind", TRAINERS)
def test_it_takes_and_skips_the_steps_of_a_loop_of_ones_own(kind: Any, precision: str) -> None:
    trainer, model = kind(), Net()
    with watching(model, trainer, precision=precision) as watch:
        trainer.train(model)
    assert watch.report.steps == plain(precision).steps
    skipped = [step.skipped for step in watch.report.steps]
    assert skipped == ([True, True, True, False] if precision == "fp16" else [False] * STEPS)
    assert (watch.report.advice is None) == (precision == "tf32")


@pytest.mark.parametrize("kind", TRAINERS)
def test_trainer_and_model_are_put_back_after_an_error_too(kind: Any) -> None:
    trainer, model = kind(), Net()
    state, kept = trainer.state, {**vars(model)}

    def interrupted() -> None:
        with watching(model, trainer):
            trainer.train(model)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert trainer.state is state
    assert vars(model) == kept
    with watching(model, trainer, precision="bf16") as watch:
        trainer.train(model)
    assert {step.loss_scale for step in watch.report.steps} == {1.0}


def test_a_step_outside_is_not_unscaled() -> None:
    accelerator, model = Accelerator(), Net()
    with watching(model, accelerator):
        optimizer = accelerator.prepare(model, sgd(model))
        assert optimizer.scaler is not None
    assert optimizer.scaler is None


def test_what_was_prepared_inside_is_not_held_outside() -> None:
    accelerator, model = Accelerator(), Net()
    with watching(model, accelerator):
        accelerator.prepare(model, sgd(model))
    assert accelerator._models == accelerator._optimizers == accelerator._schedulers == []
    assert accelerator._dataloaders == ["prepared before"]


@pytest.mark.parametrize(
    "trainer",
    [
        lambda: LightningTrainer(
            plugin=LightningPlugin("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=8.0))
        ),
        lambda: Accelerator(init_scale=8.0),
    ],
    ids=["lightning", "accelerate"],
)
def test_a_scaler_of_the_users_own_is_kept(trainer: Callable[[], Any]) -> None:
    model, own = Net(), trainer()
    with watching(model, own) as watch:
        own.train(model)
    assert [step.loss_scale for step in watch.report.steps] == [8.0] * STEPS


@pytest.mark.parametrize("kind", TRAINERS)
def test_it_must_train_on_the_cpu_in_one_process(kind: Any) -> None:
    with pytest.raises(UserError, match=r"on meta in 1 process: expected one on the CPU, as of"):
        watching(Net(), kind(device="meta")).__enter__()
    trainer = LightningTrainer()
    trainer.world_size = 2
    with pytest.raises(UserError, match="on cpu in 2 processes"):
        watching(Net(), trainer).__enter__()
    with watching(Net()):  # nothing is left of those
        pass


def test_what_was_prepared_before_is_refused() -> None:
    accelerator, model = Accelerator(), Net()
    accelerator.prepare(model, sgd(model))
    with pytest.raises(UserError, match=r"call accelerator\.prepare inside halftrack\.watching"):
        watching(Net(), accelerator).__enter__()
    with pytest.raises(UserError, match="prepared before"):
        watching(model, Accelerator()).__enter__()


def test_another_trainer_is_told_what_is_allowed() -> None:
    expected = r"type builtins\.list: expected a Trainer of lightning, pytorch_lightning or trans"
    with pytest.raises(UserError, match=expected):
        watching(Net(), []).__enter__()


def test_a_trainer_of_ones_own_class_is_one_of_its_framework() -> None:
    class Mine(LightningTrainer):
        pass

    trainer, model = Mine(), Net()
    with watching(model, trainer) as watch:
        trainer.train(model)
    assert len(watch.report.steps) == STEPS
