"""The live-byte meter counts every storage once, by kind, without copies inside a rehearsed op."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halftrack.precision import LiveBytes, Precision, optimizer_step


def test_parameters_gradients_and_momentum_are_counted_once_each() -> None:
    layer = nn.Linear(100, 100, bias=False)
    size = 100 * 100 * 4
    optimizer = torch.optim.SGD(layer.named_parameters(), lr=0.1, momentum=0.9)
    scale = Precision().new_loss_scale()
    meter = LiveBytes(layer, [optimizer])
    for _ in range(2):
        meter = LiveBytes(layer, [optimizer])
        with meter:
            layer(torch.ones(1, 100)).sum().backward()
            optimizer_step([optimizer], scale)
    assert meter.peak_by_kind["parameters"] == size
    assert meter.peak_by_kind["gradients"] == size
    assert meter.peak_by_kind["optimizer"] == size
    assert sum(meter.peak_by_kind.values()) == meter.peak


def test_room_for_the_whole_of_a_piece_that_is_moved_counts_as_what_it_holds() -> None:
    layer = nn.Linear(1, 1, bias=False)
    piece = nn.Parameter(torch.zeros(10))
    optimizer = torch.optim.SGD([piece], lr=0.1)
    with LiveBytes(layer, [optimizer]) as meter:
        whole = piece.new_empty(30)
        gradients = piece.new_zeros(30)
        others = layer.weight.new_zeros(30), whole.new_empty(30), gradients.new_empty(30)
    assert meter.peak_by_kind["parameters"] == 4 + 10 * 4 + 30 * 4
    assert meter.peak_by_kind["gradients"] == 30 * 4
    assert meter.peak_by_kind["activations"] == len(others) * 30 * 4


def test_views_cost_nothing_and_what_died_is_not_counted() -> None:
    layer = nn.Linear(1, 1)
    with LiveBytes(layer) as meter:
        for _ in range(10):
            x = torch.empty(1000)
            x.view(10, 100)
            del x
    assert meter.peak == 1000 * 4 + 2 * 4


def test_a_rehearsed_product_is_counted_as_on_a_gpu() -> None:
    layer = nn.Linear(256, 256, bias=False)
    x = torch.ones(256, 256)
    precision = Precision("fp16", 512.0)
    with (
        torch.no_grad(),
        precision.arithmetic("cpu"),
        LiveBytes(layer) as meter,
        precision.autocast("cpu"),
    ):
        y = layer(x)
    half = 256 * 256 * 2
    # The weight, its cast, the input's cast and the result: no widened copies.
    assert meter.peak == 2 * half + 3 * half
    assert meter.peak_by_kind["cast weights"] == half
    assert y.dtype == torch.float16


def test_activations_are_told_apart_by_the_module_that_made_them() -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.Sequential(nn.Linear(20, 30), nn.ReLU()))
    x = torch.ones(1, 10)
    with LiveBytes(model) as meter:
        out = model(x)
    assert meter.peak_by_module == {"0": 20 * 4, "1.0": 30 * 4, "1.1": 30 * 4}
    assert sum(meter.peak_by_module.values()) == meter.peak_by_kind["activations"]
    del out
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_failed_forward_pass_leaves_no_module_running() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("broken")

    model = nn.Sequential(Broken())
    with LiveBytes(model) as meter:
        with pytest.raises(ValueError, match="broken"):
            model(torch.ones(1))
        kept = torch.ones(100)
    assert meter.peak_by_module == {"": 400}
    del kept


def test_the_peak_counts_what_is_alive_then_whatever_died_before() -> None:
    """Two thirds die between; a meter that sweeps late must not count them at the next rise."""
    with LiveBytes(nn.Linear(1, 1, bias=False)) as meter:
        first = torch.empty(3000)
        del first
        second = torch.empty(1000)
        third = torch.empty(1500)
    assert meter.peak == 3000 * 4 + 4
    with meter:
        fourth = torch.empty(1000)
    assert meter.peak == 3500 * 4 + 4
    del second, third, fourth


def test_a_sparse_gradient_is_counted_by_its_indices_and_values() -> None:
    table = nn.Embedding(1000, 4, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    with LiveBytes(table, [optimizer]) as meter:
        table(torch.tensor([1, 2, 3])).sum().backward()
        optimizer_step([optimizer], Precision().new_loss_scale())
    assert meter.peak < 1000 * 4 * 4 + 1000
    assert meter.peak_by_kind["temporaries"] >= 3 * (8 + 4 * 4)


# Torch says so of its own; people have such models.
@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_a_scripted_part_is_counted_with_the_module_that_calls_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), torch.jit.script(nn.Linear(4, 8)))
    x = torch.ones(1, 4)
    with LiveBytes(model) as meter:
        out = model(x)
    assert meter.peak_by_module == {"0": 4 * 4, "": 8 * 4}
    assert out.shape == (1, 8)


def test_gradients_of_a_half_model_are_counted_as_gradients() -> None:
    layer = nn.Linear(16, 16, bias=False).half()
    with Precision.named("fp16").arithmetic("cpu"), LiveBytes(layer) as meter:
        layer(torch.ones(1, 16).half()).sum().backward()
    assert meter.peak_by_kind["gradients"] == 16 * 16 * 2
