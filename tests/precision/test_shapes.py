"""A step on tensors without values holds what the computed step holds, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from halftrack.precision import LiveBytes, Precision, ShapesOnly, optimizer_step


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.Flatten(),
        nn.Linear(16 * 7 * 11, 10),
        nn.Softmax(dim=1),
    )


def step(model: nn.Module, images: Tensor, precision: Precision) -> LiveBytes:
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.0, momentum=0.9)
    scale = precision.new_loss_scale()
    with LiveBytes(model, [optimizer]) as meter:
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                loss = model(images)[:, 0].float().square().sum()
            scale.scale(loss).backward()
        optimizer_step([optimizer], scale, max_grad_norm=1.0)
    return meter


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_the_peak_is_that_of_the_computed_step(name: str) -> None:
    precision = Precision.named(name)
    images = torch.rand(4, 3, 32, 48)
    measured = step(network(), images, precision)
    shapes = ShapesOnly()
    with shapes.making():
        model = network()
    with shapes:
        predicted = step(model, shapes.forget(images), precision)
    assert predicted.peak == measured.peak
    assert predicted.peak_by_kind == measured.peak_by_kind
    assert predicted.peak_by_module == measured.peak_by_module


def test_a_size_no_machine_could_hold_has_a_shape() -> None:
    shapes = ShapesOnly()
    with shapes.making():
        layer = nn.Linear(10**6, 10**6)
    with shapes:
        assert layer(shapes.forget(torch.zeros(2, 10**6))).shape == (2, 10**6)


def test_where_values_decide_a_size_it_is_the_largest() -> None:
    shapes = ShapesOnly()
    boxes, scores = shapes.forget(torch.zeros(7, 4)), shapes.forget(torch.zeros(7))
    with shapes:
        assert torch.nonzero(scores > 0).shape == (7, 1)
        assert torch.count_nonzero(boxes > 0, dim=1).tolist() == [4] * 7
        assert torch.count_nonzero(boxes > 0).tolist() == 28
        assert boxes[scores > 0].shape == (7, 4)
        assert boxes[boxes > 0].shape == (28,)
        assert boxes[scores > 0, 2].shape == (7,)
        assert torchvision.ops.nms(boxes, scores, 0.5).shape == (7,)
        assert float(scores.sum()) == 1.0


def test_what_has_values_is_computed() -> None:
    shapes = ShapesOnly()
    mask = torch.tensor([True, False, True])
    unknown = shapes.forget(torch.zeros(3, 2))
    with shapes:
        assert torch.nonzero(mask).flatten().tolist() == [0, 2]
        assert float(torch.tensor(3.0) * 2) == 6.0
        assert unknown[torch.nonzero(mask).flatten()].shape == (2, 2)


@pytest.mark.parametrize(
    "ask",
    [lambda x: x.long().max().item(), lambda x: bool(x.any()), lambda x: x.long().unique()],
    ids=["an integer", "a truth", "how many differ"],
)
def test_other_values_are_refused_and_the_op_is_named(ask: Callable[[Tensor], object]) -> None:
    shapes = ShapesOnly()
    x = shapes.forget(torch.zeros(3))
    with shapes, pytest.raises(RuntimeError, match=r"(aten|prim)\S+ needs values of a tensor"):
        ask(x)
