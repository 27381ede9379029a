"""The live-byte meter counts every storage once, by kind, without copies inside a rehearsed op."""

from __future__ import annotations

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
