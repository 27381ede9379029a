"""Processes that divide a model hold a piece of all there is of it, and learn as one does."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
import torch
from processes import in_processes
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.errors import UserError
from halftrack.layers import one_thread
from halftrack.precision import NonFiniteGradientError, Precision
from halftrack.training import Learner
from halftrack.training.processes.distributed import SharedLearner
from halftrack.training.processes.sharded_learner import ShardedLearner, new_learner
from halftrack.training.ranks import ALONE, Ranks, together

CPU = torch.device("cpu")


def learner_of(tiny: ModuleType, ranks: Ranks, **fields: object) -> Learner:
    config = dataclasses.replace(tiny.SHORT, **{"shard": "full", "accumulate": 2} | fields)
    model = tiny.TinyModel()
    learner = new_learner(ranks, model, config, Precision(), CPU, 8)
    learner.begin_epoch(0)
    return learner


def batches(tiny: ModuleType, *places: int, **given: object) -> list[object]:
    return list(tiny.TinySource(8, **given).batches(seed=3, epoch=0, places=places))


def told_of_hopeless_gradients(broken: type[nn.Module], tiny: ModuleType) -> list[str]:
    """The errors of two processes after a step of a model whose gradients are NaN."""

    def told() -> str:
        with together(CPU) as ranks:
            learner = ShardedLearner(
                broken(), tiny.SHORT, Precision(), ranks=ranks, device=CPU, batches_per_epoch=2
            )
            learner.begin_epoch(0)
            learner.gradients(batches(tiny, 0)[0], seed=1)
            with pytest.raises(NonFiniteGradientError) as error:
                learner.step()
            return str(error.value)

    return list(in_processes(2, told))


def test_the_kind_of_learner_follows_from_the_recipe_and_the_processes(tiny: ModuleType) -> None:
    def kinds() -> list[type]:
        with together(CPU) as ranks:
            return [
                type(learner_of(tiny, ranks, shard=shard))
                for shard in ("none", "optimizer", "full")
            ]

    assert in_processes(2, kinds) == [[SharedLearner, SharedLearner, ShardedLearner]] * 2
    assert type(learner_of(tiny, ALONE)) is Learner


def test_nothing_is_whole_between_steps(tiny: ModuleType) -> None:
    def held() -> tuple[int, int, int, bool]:
        with together(CPU) as ranks:
            learner = learner_of(tiny, ranks)
            learner.gradients(batches(tiny, ranks.rank)[0], seed=1)
            learner.step()
            momentum = sum(
                value.numel()
                for each in learner.optimizer.state.values()
                for value in each.values()
            )
            weights = sum(len(p) for g in learner.optimizer.param_groups for p in g["params"])
            average = sum(len(each) for each in learner.average.tensors if each.dim())
            absent = all(
                bool(p.isnan().all()) and p.grad is None for p in learner.model.parameters()
            )
            return weights, momentum, average, absent

    model = tiny.TinyModel()
    every = sum(parameter.numel() for parameter in model.parameters())
    found = in_processes(2, held)
    assert sum(weights for weights, _, _, _ in found) == every
    assert sum(momentum for _, momentum, _, _ in found) == every
    # The running statistics are whole in each.
    assert sum(average for _, _, average, _ in found) == every + 2 * 2 * 5
    assert all(absent for _, _, _, absent in found)


def test_clips_of_sizes_that_differ_leave_some_processes_without_a_pass(tiny: ModuleType) -> None:
    def learned() -> dict[str, Tensor]:
        with together(CPU) as ranks:
            learner = learner_of(tiny, ranks, accumulate=4, clips_per_pass=2)
            own = batches(tiny, 0) if ranks.rank == 0 else batches(tiny, 2, 3)
            for batch in own:
                learner.gradients(batch, seed=1)
            learner.step()
            learner.end()
            return dict(learner.model.named_parameters())

    learner = learner_of(tiny, ALONE, accumulate=4)
    with one_thread():
        for batch in batches(tiny, 0, 2, 3):
            learner.gradients(batch, seed=1)
        learner.step()
    for found in in_processes(2, learned):
        for name, wanted in learner.model.named_parameters():
            torch.testing.assert_close(found[name], wanted, rtol=1e-6, atol=1e-7)


def test_the_parameter_of_a_hopeless_gradient_is_named_by_every_process(tiny: ModuleType) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Linear(4, 64, device="cpu")
            self.last = nn.Linear(64, 2, device="cpu")

        def forward(self, batch: object) -> dict[str, Tensor]:
            return {"loss": self.last(self.wide(batch.x)).sum() + self.last.bias[1] * torch.nan}

    for message in told_of_hopeless_gradients(Broken, tiny):
        assert message.startswith("the gradient of last.bias holds NaN; without a loss scale")


def test_of_several_hopeless_gradients_the_first_in_the_model_is_named(tiny: ModuleType) -> None:
    class Lost(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.bias[-1] * torch.nan

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Lost(4, 64, device="cpu")  # whose bias is in the second one's piece
            self.last = nn.Linear(64, 2, device="cpu")  # whose weight is in the first one's

        def forward(self, batch: object) -> dict[str, Tensor]:
            return {"loss": self.last(self.first(batch.x)).sum()}

    first, second = told_of_hopeless_gradients(Broken, tiny)
    assert first == second
    assert first.startswith("the gradient of first.bias holds NaN")


class Copies(TorchDispatchMode):
    """Counts tensors that are copied to where they may be already."""

    made = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.made += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


def test_a_state_is_no_copy_and_no_later_step_changes_its_weights(tiny: ModuleType) -> None:
    def told() -> tuple[int, int, bool]:
        with together(CPU) as ranks:
            learner = learner_of(tiny, ranks)
            trained = {name for name, _ in learner.model.named_parameters()}
            learner.gradients(batches(tiny, ranks.rank)[0], seed=1)
            learner.step()
            with Copies() as copies:
                weights = learner.state_dict()["state_dict"]
            before = {name: value.clone() for name, value in weights.items()}
            learner.gradients(batches(tiny, ranks.rank)[0], seed=1)
            learner.step()
            same = all(torch.equal(weights[n], before[n]) for n in trained & weights.keys())
            return copies.made, len(weights), same

    every = len(tiny.TinyModel().state_dict())
    assert in_processes(2, told) == [(0, every, True), (0, 0, True)]


def test_compiled_code_cannot_be_divided(tiny: ModuleType) -> None:
    with pytest.raises(UserError, match=r"training.shard='full', training.compile='default': .*"):
        dataclasses.replace(tiny.SHORT, shard="full", compile="default")
