"""Islands of any model are found in the model itself, which need not be one that can be copied."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from halftrack.rehearsing.islands import islands_of_step


class Graph(nn.Module):
    """Three layers, two of which overflow; it keeps a tensor with a graph, and masks with -inf."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        for layer in (self.first, self.third):
            nn.init.constant_(layer.weight, 2.0**15)
        self.kept = self.first.weight.sum() * 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).float() / 2.0**15
        x = self.second(x).masked_fill(torch.eye(4, dtype=torch.bool)[: len(x)], -torch.inf)
        return (self.third(x.softmax(1) * 4).float() / 2.0**15).square().mean()


def search(model: nn.Module, loss_scale: float = 1.0) -> tuple[str, ...] | None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(3, 4)
    found = islands_of_step(
        lambda model, x: model(x), [x], model=model, optimizers=[optimizer], loss_scale=loss_scale
    )
    return found.keep_fp32


def test_exactly_the_planted_ones_are_found_and_nothing_is_left_behind() -> None:
    model = Graph()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    kinds = [type(module) for module in model.modules()]
    assert search(model) == ("first", "third")
    assert [type(module) for module in model.modules()] == kinds
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_clean_model_needs_none_and_no_island_mends_a_batch_of_nan() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def found(x: Tensor) -> tuple[str, ...] | None:
        return islands_of_step(
            lambda model, x: model(x).mean(),
            [x],
            model=model,
            optimizers=[optimizer],
            loss_scale=1.0,
        ).keep_fp32

    assert found(torch.ones(2, 4)) == ()
    assert found(torch.full((2, 4), torch.nan)) is None
