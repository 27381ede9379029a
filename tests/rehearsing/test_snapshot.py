"""A model and its optimizers are put back as they were."""

from __future__ import annotations

import random

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.precision import Precision
from halftrack.rehearsing import rehearse
from halftrack.rehearsing.snapshot import Snapshot, learned_by


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model in the middle of a training, partly frozen, with a gradient that waits."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model[3].bias.requires_grad_(False)
    model[1].eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(3, 4)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[object]:
    """Everything that must be the same, tensors as lists."""
    moments = [value for each in optimizer.state.values() for value in each.values()]
    gradients = [p.grad for p in model.parameters()]
    tensors = [*model.state_dict().values(), *moments, *gradients, torch.get_rng_state()]
    return [
        *(None if each is None else each.tolist() for each in tensors),
        *([p.requires_grad for p in model.parameters()], [type(m) for m in model.modules()]),
        [m.training for m in model.modules()],
        [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups],
        *(random.getstate(), numpy.random.get_state()[1].tolist()),  # type: ignore[index, union-attr]
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
    ]


def step(model: nn.Module, x: Tensor) -> Tensor:
    random.random()
    numpy.random.rand()
    return F.mse_loss(model(x), torch.ones(3, 2))


def test_a_rehearsal_leaves_everything_as_it_was() -> None:
    model, optimizer = trained()
    parameters, gradients = [*model.parameters()], [p.grad for p in model.parameters()]
    before = state(model, optimizer)
    report = rehearse(
        step,
        [torch.randn(3, 4, generator=torch.Generator().manual_seed(1))],
        model=model,
        optimizer=optimizer,
        precision=Precision("fp16", 1.0, ("0",)),
        steps=3,
        every=2,
    )
    assert not any(each.skipped for each in report.steps)
    assert len({each.losses["loss"] for each in report.steps}) == 3
    assert state(model, optimizer) == before
    report.islands()
    assert state(model, optimizer) == before
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(p.grad is g for p, g in zip(parameters, gradients, strict=True))


def test_what_several_optimizers_move_is_listed_in_their_order() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 3)
    groups = [{"params": [other.bias]}, {"params": [other.weight]}]
    optimizers = [torch.optim.SGD(groups, lr=0.1), torch.optim.Adam(one.parameters())]
    expected = [other.bias, other.weight, one.weight, one.bias]
    found = learned_by(optimizers)
    assert [id(each) for each in found] == [id(each) for each in expected]


def test_it_can_be_put_back_again_and_again() -> None:
    model, optimizer = trained()
    snapshot, before = Snapshot(model, [optimizer]), state(model, optimizer)
    for _ in range(2):
        step(model, torch.randn(3, 4)).backward()
        optimizer.step()
        model[0].register_buffer("extra", torch.zeros(2))
        model[3].weight = nn.Parameter(torch.zeros(2, 4))
        model.train()
        snapshot.put_back()
        assert state(model, optimizer) == before


def test_a_new_optimizer_is_new_again() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    snapshot = Snapshot(model, [optimizer])
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    snapshot.put_back()
    assert not optimizer.state
    assert model.weight.grad is None
