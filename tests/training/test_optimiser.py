from __future__ import annotations

import pytest
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
