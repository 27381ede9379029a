from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from halftrack.training import Phase
from halftrack.training.optimiser import apply_phases, build_sgd


def linear() -> nn.Linear:
    return nn.Linear(2, 2, device="cpu")


def test_parts_of_a_model_can_move_slower() -> None:
    model = nn.ModuleDict({"backbone": linear(), "head": linear()})
    optimizer = build_sgd(model, lr=1.0, momentum=0.0, weight_decay=0.0, slower={"backbone.*": 0.1})
    rates = {name: g["lr"] for g in optimizer.param_groups for name in g["param_names"]}
    assert rates["head.weight"] == 1.0
    assert rates["backbone.weight"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"lr_factors: 'neck\.\*' matches no parameter"):
        build_sgd(model, lr=1.0, momentum=0.0, weight_decay=0.0, slower={"neck.*": 0.1})


def test_sgd_names_every_parameter() -> None:
    optimizer = build_sgd(linear(), lr=1.0, momentum=0.9, weight_decay=0.0)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


def test_phases_freeze_and_thaw_at_their_epochs() -> None:
    model = nn.Sequential(linear(), linear())
    phases = (
        Phase(first_epoch=0, trainable=("1.*",)),
        Phase(first_epoch=2, trainable=("*",)),
    )
    trains = []
    for epoch in range(3):
        apply_phases(model, phases, epoch)
        trains.append(model[0].weight.requires_grad)
    assert trains == [False, False, True]
    assert model[1].weight.requires_grad


def test_phase_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'layer9\.\*' matches no parameter"):
        apply_phases(linear(), (Phase(first_epoch=0, trainable=("layer9.*",)),), 0)


RATES = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, device="cpu"), nn.Conv2d(4, 2, 1, device="cpu"))


def give_gradients(*models: nn.Module, seed: int, frozen: str = "none") -> None:
    for model in models:
        generator = torch.Generator(device="cpu").manual_seed(seed)
        for name, parameter in model.named_parameters():
            drawn = torch.rand(parameter.shape, generator=generator, device="cpu") - 0.5
            parameter.grad = None if name.startswith(frozen) else drawn


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_equal_torchs_loop_also_where_layers_thaw(
    channels_last: bool, momentum: float
) -> None:
    mine, theirs = layers(), layers()
    if channels_last:  # with gradients that lie otherwise
        mine.to(memory_format=torch.channels_last)
    optimizer = build_sgd(mine, **(RATES | {"momentum": momentum}))
    plain = torch.optim.SGD(theirs.parameters(), **(RATES | {"momentum": momentum}), foreach=False)
    for seed in range(4):
        give_gradients(mine, theirs, seed=seed, frozen="0" if seed < 2 else "none")
        optimizer.step()
        plain.step()
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("older", [False, True])
def test_an_optimizer_continues_bit_for_bit_and_from_older_states(older: bool) -> None:
    first, second = stepped(older=older, layout=torch.contiguous_format)
    assert equal(first, second)


def test_an_optimizer_continues_in_another_memory_format() -> None:
    first, second = stepped(older=False, layout=torch.channels_last)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)


def stepped(*, older: bool, layout: torch.memory_format) -> tuple[nn.Module, nn.Module]:
    """Layers after two steps, and others whose second step was after a resume."""
    first = layers()
    optimizer = build_sgd(first, **RATES)
    give_gradients(first, seed=0)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    if older:
        for group in state["param_groups"]:
            del group["fused"]
    second = copy.deepcopy(first).to(memory_format=layout)
    resumed = build_sgd(second, **RATES)
    resumed.load_state_dict(state)
    assert all(group["fused"] for group in resumed.param_groups)
    give_gradients(first, second, seed=1)
    for each in (optimizer, resumed):
        each.step()
    return first, second
