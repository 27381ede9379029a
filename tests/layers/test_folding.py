"""A folded batch norm computes what it would behind its convolution, and is never out of date."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.layers import ResNet, ResNetConfig
from halftrack.layers.folding import FoldingConv2d, conv_bn, fold, folded_copy
from halftrack.precision import Precision

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class OnLists(TorchDispatchMode):
    """Counts ops on lists of tensors, and sums."""

    ops = sums = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.ops += "_foreach_" in func.name()
        self.sums += "sum" in func.name()
        return func(*args, **(kwargs or {}))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = FoldingConv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return conv_bn(x, self.conv, self.bn)


def folded(layer: Layer) -> tuple[Tensor, Tensor]:
    return fold([(layer.conv, layer.bn)])[layer.conv]


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
    weight, bias = folded(layer)
    again = folded(layer)
    assert again[0] is weight
    assert again[1] is bias


def test_with_gradients_nothing_is_kept() -> None:
    layer = Layer()
    layer(IMAGES).square().sum().backward()
    assert folded(layer)[0] is not folded(layer)[0]
    assert all(parameter.grad is not None for parameter in layer.parameters())
    layer.requires_grad_(False)
    assert folded(layer)[0] is folded(layer)[0]


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


def network() -> nn.ModuleList:
    """Layers of different sizes, with statistics and gradients of every kind."""
    torch.manual_seed(1)
    layers = nn.ModuleList()
    for inp, out, kernel in ((3, 4, 3), (4, 6, 1), (6, 4, 3), (4, 4, 1), (4, 5, 1)):
        conv = FoldingConv2d(inp, out, kernel, padding=kernel // 2, bias=False)
        bn = nn.BatchNorm2d(out)
        for tensor in (bn.weight, bn.running_var):
            tensor.data.uniform_(0.5, 2.0)
        for tensor in (bn.bias, bn.running_mean):
            tensor.data.normal_()
        layers.append(nn.ModuleList([conv, bn]))
    layers.eval()
    layers[1].requires_grad_(False)
    layers[2][0].requires_grad_(False)
    layers[3][1].requires_grad_(False)
    layers[4].train()
    return layers


@pytest.mark.parametrize("channels_last", [False, True])
def test_many_in_one_pass_equal_each_norm_behind_its_convolution(channels_last: bool) -> None:
    layers = network().double()  # so that sums in another order are no difference
    if channels_last:
        layers.to(memory_format=torch.channels_last)
    other = copy.deepcopy(layers)
    x = y = IMAGES.double()
    folds = fold([tuple(layer) for layer in layers])
    assert [conv in folds for conv, _ in layers] == [True, True, True, True, False]
    for conv, bn in layers:
        x = conv_bn(x, conv, bn, folds)
    for conv, bn in other:
        y = bn(conv(y))
    assert torch.allclose(x, y, atol=1e-9)
    for out in (x, y):
        out.sin().sum().backward()
    for (name, mine), theirs in zip(layers.named_parameters(), other.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None), name
        if mine.grad is not None:
            assert torch.allclose(mine.grad, theirs.grad, atol=1e-9), name
            assert mine.grad.stride() == mine.stride()


@pytest.mark.parametrize("count", [1, 5])
def test_many_are_folded_by_eleven_ops_and_a_sum_each(count: int) -> None:
    layers = [(layer.conv, layer.bn) for layer in (Layer() for _ in range(count))]
    with OnLists() as forward:
        folds = fold(layers)
    made = [tensor for pair in folds.values() for tensor in pair]
    with OnLists() as backward:
        torch.autograd.backward(made, [torch.ones_like(tensor) for tensor in made])
    assert (forward.ops, backward.ops, forward.sums, backward.sums) == (6, 5, 0, count)


def test_half_weights_are_cast_as_autocast_would_and_their_gradients_widened() -> None:
    layer, alone = Layer(), Layer()
    for bn in (layer.bn, alone.bn):
        bn.running_var.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(2))
    precision = Precision("fp16", 1.0)
    with precision.arithmetic("cpu"), precision.autocast("cpu"):
        weight, bias = folded(layer)
    assert weight.dtype == bias.dtype == torch.float16
    wide = folded(alone)
    assert torch.equal(weight, wide[0].half())
    assert torch.equal(bias, wide[1].half())
    torch.autograd.backward([weight, bias], [torch.ones_like(weight), torch.ones_like(bias)])
    torch.autograd.backward(wide, [torch.ones_like(tensor) for tensor in wide])
    for mine, theirs in zip(layer.parameters(), alone.parameters(), strict=True):
        assert mine.grad.dtype == torch.float32
        assert torch.equal(mine.grad, theirs.grad)


@torch.no_grad()
def test_what_is_kept_is_kept_in_the_dtype_that_is_computed_in() -> None:
    layer, precision = Layer(), Precision("fp16", 1.0)
    with precision.inference("cpu"):
        half, _ = folded(layer)
        assert folded(layer)[0] is half
    assert half.dtype == torch.float16
    assert folded(layer)[0].dtype == torch.float32


@pytest.mark.parametrize("autocast", [False, True])
def test_a_compiler_reads_the_same_fold(autocast: bool) -> None:
    eager = Layer().eval()
    read = copy.deepcopy(eager)
    torch._dynamo.reset()
    compiled = torch.compile(read.forward, backend="aot_eager", fullgraph=True, dynamic=False)
    found = []
    for layer, forward in ((eager, eager.forward), (read, compiled)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = forward(IMAGES)
        out.float().square().sum().backward()
        found.append([out, *(parameter.grad for parameter in layer.parameters())])
    for mine, exact in zip(*found, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-6 if not autocast else 2**-7, atol=1e-5)
    assert found[1][0].dtype == (torch.bfloat16 if autocast else torch.float32)
    torch._dynamo.reset()


@torch.no_grad()
def test_a_folded_copy_has_no_norms_and_answers_alike() -> None:
    config = ResNetConfig(depth=18, base_channels=8, outputs=(1, 4))
    model = ResNet(config).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_()
    made = folded_copy(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert not any("bn" in name for name in made.state_dict())
    assert any("bn" in name for name in model.state_dict())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for one, other in zip(model(images), made(images), strict=True):
        torch.testing.assert_close(one, other)


def test_training_drops_what_an_evaluation_kept() -> None:
    layer = Layer()
    with torch.no_grad():
        kept, _ = folded(layer)
        assert folded(layer)[0] is kept
    layer.eval()
    assert layer.conv._kept is not None
    layer.train()
    assert layer.conv._kept is None


def test_a_frozen_stage_is_folded_once_in_training() -> None:
    layer = Layer().requires_grad_(False).train()
    layer.bn.eval()
    kept, _ = folded(layer)
    assert folded(layer)[0] is kept
