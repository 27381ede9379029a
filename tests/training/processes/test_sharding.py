"""Momentum that is divided among processes moves weights as momentum of one process does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from processes import in_processes
from torch import nn

from halftrack.precision.step import FusedSGD
from halftrack.training.processes.parts import Part
from halftrack.training.processes.sharding import divided, move_pieces, shard_momentum
from halftrack.training.ranks import ALONE, Ranks, together

CPU = torch.device("cpu")
SETTINGS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "fused": True}


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    sizes = ((3, 4, 3), (4, 2, 1), (2, 5, 3))
    return nn.Sequential(*(nn.Conv2d(*each, device="cpu") for each in sizes))


def gradients(model: nn.Module, step: int) -> dict[str, torch.Tensor | None]:
    generator = torch.Generator(device="cpu").manual_seed(step)
    drawn: dict[str, torch.Tensor | None] = {}
    for name, parameter in model.named_parameters():
        values = torch.rand(parameter.shape, generator=generator, device="cpu") - 0.5
        frozen = (name.startswith("0") and step < 2) or name == "1.bias"
        drawn[name] = None if frozen else values
    return drawn


def moved(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> dict[str, Any]:
    """The states of model and optimizer after steps in which the first layer thaws, one not."""
    for step in steps:
        drawn = gradients(model, step)
        for name, parameter in model.named_parameters():
            parameter.grad = drawn[name]
        optimizer.step()
    return copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    else:
        assert one == other


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_steps_and_states_equal_those_of_one_process(layout: torch.memory_format) -> None:
    def sharded(state: dict[str, Any] | None, steps: range) -> tuple[dict[str, Any], int]:
        with together(CPU) as ranks:
            model = layers().to(memory_format=layout)
            optimizer = FusedSGD(model.named_parameters(), **SETTINGS)
            shard_momentum(optimizer, ranks)
            if state is not None:
                model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
            return moved(model, optimizer, steps), len(optimizer.state)

    model = layers().to(memory_format=layout)
    optimizer = FusedSGD(model.named_parameters(), **SETTINGS)
    before, after = moved(model, optimizer, range(3)), moved(model, optimizer, range(3, 5))
    found = in_processes(3, lambda: sharded(None, range(3)))
    assert_equal(found[0][0], before)
    assert all(torch.equal(found[2][0]["model"][k], v) for k, v in before["model"].items())
    assert sum(held for _, held in found) == 5
    # What rank 0 has told is continued by any other number of processes.
    (resumed, _), _ = in_processes(2, lambda: sharded(found[0][0], range(3, 5)))
    assert_equal(resumed, after)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pieces_are_moved_as_the_whole_is(layout: torch.memory_format) -> None:
    def of_pieces(state: dict[str, Any] | None, steps: range) -> dict[str, Any]:
        with together(CPU) as ranks:
            model = layers().to(memory_format=layout)
            optimizer = FusedSGD(model.named_parameters(), **SETTINGS)
            names = {parameter: name for name, parameter in model.named_parameters()}
            if state is not None:
                model.load_state_dict(state["model"])
            part = Part("all", list(model.parameters()), ranks)
            move_pieces(optimizer, [part], ranks)
            if state is not None:
                optimizer.load_state_dict(state["optimizer"])
            whole = layers().to(memory_format=layout)
            for step in steps:
                drawn = gradients(whole, step)
                shares = part.split(part.spread([drawn[names[p]] for p in part.parameters]))
                for parameter, piece, share in zip(
                    part.parameters, part.pieces, shares, strict=True
                ):
                    piece.grad = None if drawn[names[parameter]] is None else share
                optimizer.step()
            part.gather()
            return copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})

    model = layers().to(memory_format=layout)
    optimizer = FusedSGD(model.named_parameters(), **SETTINGS)
    before, after = moved(model, optimizer, range(3)), moved(model, optimizer, range(3, 5))
    first, *others = in_processes(3, lambda: of_pieces(None, range(3)))
    assert_equal(first, before)
    assert all(other["optimizer"]["state"] == {} for other in others)
    resumed, _ = in_processes(2, lambda: of_pieces(first, range(3, 5)))
    assert_equal(resumed, after)


def test_one_process_holds_all() -> None:
    states = []
    for shards in (False, True):
        model = layers()
        optimizer = FusedSGD(model.named_parameters(), **SETTINGS)
        if shards:
            shard_momentum(optimizer, ALONE)
        states.append(moved(model, optimizer, range(3)))
    assert_equal(*states)


def test_parts_are_about_equal() -> None:
    tensors = [torch.zeros(size, device="cpu", requires_grad=True) for size in (1, 2, 3, 4, 5, 6)]
    parts = divided(FusedSGD(tensors, **SETTINGS), 2)
    assert [[each.numel() for each in part] for part in parts] == [[6, 3, 2], [5, 4, 1]]
    parts = divided(FusedSGD(tensors[:2], **SETTINGS), 3)
    assert [len(part) for part in parts] == [1, 1, 0]


def test_a_process_moves_its_own_part_alone() -> None:
    class Silent(Ranks):
        def broadcast(self, values: torch.Tensor, *, of: int) -> torch.Tensor:
            return values

    model = layers()
    before = copy.deepcopy(model.state_dict())
    optimizer = FusedSGD(model.named_parameters(), **SETTINGS)
    shard_momentum(optimizer, Silent(1, 2))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    _, own = divided(optimizer, 2)
    for name, parameter in model.named_parameters():
        is_own = any(parameter is each for each in own)
        assert torch.equal(parameter, before[name]) != is_own
        assert (parameter in optimizer.state) == is_own
        assert parameter.grad is not None
