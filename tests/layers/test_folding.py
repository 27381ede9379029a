"""A folded batch norm computes what it would behind its convolution, and is never out of date."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from halftrack.layers.folding import FoldingConv2d, conv_bn
from halftrack.precision import Precision

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = FoldingConv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return conv_bn(x, self.conv, self.bn)


def saved(layer: Layer) -> Layer:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def plain(layer: Layer) -> Tensor:
    return layer.bn(layer.conv(IMAGES))


def set_weight(layer: Layer) -> None:
    layer.bn.weight.mul_(2.0)


def load(layer: Layer) -> None:
    layer.load_state_dict({name: value + 1 for name, value in layer.state_dict().items()})


def assign(layer: Layer) -> None:
    state = {name: value + 1 for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)


def replace_data(layer: Layer) -> None:
    layer.conv.weight.data = layer.conv.weight.data * 2


def learn_statistics(layer: Layer) -> None:
    layer.bn.train()
    layer(IMAGES * 3)
    layer.bn.eval()


def learn_statistics_by_itself(layer: Layer) -> None:
    layer.bn.train()
    layer.bn(layer.conv(IMAGES * 3))
    layer.bn.eval()


@pytest.mark.parametrize(
    "change",
    [
        set_weight,
        load,
        assign,
        replace_data,
        learn_statistics,
        learn_statistics_by_itself,
    ],
)
@torch.no_grad()
def test_a_kept_fold_follows_every_change_of_its_sources(change: Callable[[Layer], None]) -> None:
    layer = Layer()
    before = layer(IMAGES)
    change(layer)
    assert not torch.allclose(layer(IMAGES), before, atol=1e-2)
    assert torch.allclose(layer(IMAGES), plain(layer), atol=1e-5)


@torch.no_grad()
def test_a_fold_is_kept_as_long_as_nothing_changes() -> None:
    layer = Layer()
    weight, bias = layer.conv.folded(layer.bn)
    again = layer.conv.folded(layer.bn)
    assert again[0] is weight
    assert again[1] is bias


def test_with_gradients_nothing_is_kept() -> None:
    layer = Layer()
    layer(IMAGES).square().sum().backward()
    assert layer.conv.folded(layer.bn)[0] is not layer.conv.folded(layer.bn)[0]
    assert all(parameter.grad is not None for parameter in layer.parameters())
    layer.requires_grad_(False)
    assert layer.conv.folded(layer.bn)[0] is layer.conv.folded(layer.bn)[0]


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer)), saved],
    ids=["deepcopy", "pickle", "torch.save"],
)
@pytest.mark.parametrize("keep_fp32", [(), ("conv",)], ids=["half", "island"])
@torch.no_grad()
def test_a_copy_folds_for_itself(
    duplicate: Callable[[Layer], Layer], keep_fp32: tuple[str, ...]
) -> None:
    layer = Layer()
    Precision("fp16", 1.0, keep_fp32).keep_in_fp32(layer)
    before = layer(IMAGES)
    other = duplicate(layer)
    for parameter in other.parameters():
        parameter.zero_()
    assert (other(IMAGES) == 0).all()
    assert torch.equal(layer(IMAGES), before)
    assert list(other.state_dict()) == list(layer.state_dict())
    assert len(pickle.dumps(layer)) == len(pickle.dumps(other))


def test_the_keys_are_those_of_a_convolution() -> None:
    assert list(FoldingConv2d(3, 4, 3).state_dict()) == list(nn.Conv2d(3, 4, 3).state_dict())


@torch.no_grad()
def test_a_convolution_that_is_an_island_is_one_with_its_norm_folded_in() -> None:
    layer, half = Layer(), Layer()
    precision = Precision("fp16", 1.0, ("conv",))
    precision.keep_in_fp32(layer)
    with precision.inference("cpu"):
        assert layer(IMAGES).dtype == torch.float32
        assert half(IMAGES).dtype == torch.float16
