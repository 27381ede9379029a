"""A model's parts are whole one at a time, in the same order in every process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from processes import in_processes
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.layers.folding import FoldingConv2d, conv_bn
from halftrack.recipes import load_recipe
from halftrack.training.processes.divided import DividedModel, fullest
from halftrack.training.ranks import Ranks, together

CPU = torch.device("cpu")


class Recorded(Ranks):
    """One process for itself, which notes how long the parts are that it makes whole and shares."""

    exchanged: list[str] = []  # noqa: RUF012

    def joined(self, piece: Tensor) -> Tensor:
        self.exchanged.append(f"gather {len(piece)}")
        return piece.clone()

    def summed_piece(self, own: Tensor, wire: torch.dtype | None = None) -> Tensor:
        self.exchanged.append(f"share {len(own)}")
        return own


@contextmanager
def exchanged() -> Iterator[list[str]]:
    Recorded.exchanged.clear()
    yield Recorded.exchanged


def linear(size: int) -> nn.Linear:
    return nn.Linear(8, size, device="cpu")


class Chain(nn.Module):
    """Three parts of 128, 192 and 256 values; the last runs where a batch says so."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = linear(8), linear(8 * 2), linear(8 * 3)
        self.second.bias.requires_grad_(False)

    def forward(self, x: Tensor, *, whole: bool = True) -> Tensor:
        out = self.second(self.first(x).relu())
        return out.sum() + (self.third(out[:, :8]).square().sum() if whole else 0.0)


ONCE = ["gather 128", "gather 192", "gather 256", "share 256"]
ONCE += ["gather 192", "share 192", "gather 128", "share 128"]


def test_every_pass_exchanges_the_same_in_the_same_order() -> None:
    model, x = Chain(), torch.ones((2, 8), device="cpu")
    model(x).backward()
    wanted = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    divided = DividedModel(model, Recorded(), None)
    divided.begin()
    with exchanged() as calls:
        divided(x).backward()
        divided.finish()
    assert calls == ONCE
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[parameter] for parameter in divided.touched} == wanted.keys()
    for part in divided.parts:
        for parameter, summed in zip(part.parameters, part.joined(part.gradients), strict=True):
            expected = wanted.get(names[parameter], torch.zeros_like(summed))
            assert torch.equal(summed, expected)
            assert bool(parameter.isnan().all())
    model.forward = lambda batch: Chain.forward(model, batch, whole=False)
    with exchanged() as calls:  # a batch that has no use for the last part
        divided(x).backward()
        divided.finish()
    assert calls == ONCE
    with exchanged() as calls:  # no batch at all
        divided.idle()
    assert calls == ONCE


def test_nothing_is_exchanged_for_what_no_gradient_reaches() -> None:
    model, x = Chain(), torch.ones((2, 8), device="cpu")
    model.first.requires_grad_(False)
    divided = DividedModel(model, Recorded(), None)
    divided.begin()
    with exchanged() as calls:
        divided(x).backward()
        divided.finish()
    assert calls == ONCE[:6]
    assert divided.parts[0].gradients is None


def test_a_graph_keeps_no_weights() -> None:
    model = Chain()
    divided = DividedModel(model, Recorded(), None)
    divided.begin()
    kept: list[Tensor] = []

    def keep(found: object) -> object:
        if isinstance(found, Tensor):
            kept.append(found)
        return found

    noted = divided._noted
    divided._noted = lambda tensor: keep(noted(tensor))
    loss = divided(torch.ones((2, 8), device="cpu"))
    shapes = {tuple(each.shape) for each in kept}
    assert shapes  # inputs of the layers
    assert not shapes & {(16, 8), (8, 16), (24, 8), (8, 24), (8, 8)}
    loss.backward()
    divided.finish()


def test_whole_weights_can_be_used_changed_and_copied() -> None:
    model, x = Chain(), torch.ones((2, 8), device="cpu")
    wanted, state = model(x), copy.deepcopy(model.state_dict())
    divided = DividedModel(model, Recorded(), None)
    with divided.whole(), divided.whole():
        assert torch.equal(model(x), wanted)
        assert torch.equal(copy.deepcopy(model)(x), wanted)
        model.load_state_dict({name: value + 1 for name, value in state.items()})
    assert all(bool(value.isnan().all()) for value in model.state_dict().values())
    with pytest.raises(AssertionError, match="the weights are divided"):
        model(x)
    divided.join()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name] + 1)
    assert model(x).isfinite()


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (False, "the forward pass comes to first again after second; it is for models whose"),
        (True, "the backward pass comes to third again after first"),
    ],
)
def test_a_model_that_goes_back_to_a_part_is_refused(backward: bool, message: str) -> None:
    model = Chain()
    divided = DividedModel(model, Recorded(), None)
    divided.begin()
    x = torch.ones((2, 8), device="cpu")
    if backward:
        loss = divided(x)
        divided._return_to(0)
    else:
        model.forward = lambda batch: model.first(model.second(model.first(batch))[:, :8]).sum()
    with pytest.raises(UserError, match=f"training.shard='full': {message}.*shard='optimizer'"):
        loss.backward() if backward else divided(x)


def tied() -> nn.Module:
    model = Chain()
    model.third.bias = model.second.bias
    return model


def tied_inside() -> nn.Module:
    pair = nn.Sequential(linear(8), linear(8))
    pair[1].weight = pair[0].weight
    return nn.Sequential(linear(8), pair)


def loose() -> nn.Module:
    model = Chain()
    model.scale = nn.Parameter(torch.ones((), device="cpu"))
    return model


def mixed() -> nn.Module:
    return nn.Sequential(linear(8), nn.Sequential(linear(8), linear(8).double()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (tied, "second and third share a parameter; expected each in one part"),
        (tied_inside, "1 has a parameter under several names; expected one name for each"),
        (loose, "scale is a parameter of no part of the model; expected each in a module"),
        (mixed, "1 has parameters of several dtypes; expected one"),
    ],
)
def test_a_model_that_cannot_be_divided_is_refused(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(UserError, match=f"training.shard='full': .*{message}"):
        DividedModel(make(), Recorded(), None)


def test_a_module_without_parameters_may_be_in_several_parts() -> None:
    relu = nn.ReLU()
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(linear(8), relu) for _ in range(2)))
    x = torch.ones((2, 8), device="cpu")
    wanted = model(x)
    divided = DividedModel(model, Recorded(), None)
    divided.begin()
    loss = divided(x)
    assert torch.equal(loss, wanted)
    loss.sum().backward()
    divided.finish()


class Folded(nn.Module):
    """A convolution and a frozen norm that are not called, but folded; a second part behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = FoldingConv2d(3, 8, 1, device="cpu")
        self.bn = nn.BatchNorm2d(8, device="cpu").eval()
        self.last = nn.Conv2d(8, 2, 1, device="cpu")

    def parts_in_order(self) -> list[list[nn.Module]]:
        return [[self.conv, self.bn], [self.last]]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(conv_bn(x, self.conv, self.bn))


def test_a_part_that_is_folded_and_never_called_is_made_whole_by_its_owners_call() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 1, device="cpu"), Folded())
    x = torch.ones((1, 3, 2, 2), device="cpu")
    wanted = model(x)
    divided = DividedModel(model, Recorded(), None)
    assert [part.name for part in divided.parts] == ["0", "1.conv", "1.last"]
    divided.begin()
    found = divided(x)
    assert torch.equal(found, wanted)
    found.sum().backward()
    divided.finish()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("selsa_tiny_sample", 8),
        ("faster-rcnn_tiny_sample", 8),
        ("siamese_rpn_tiny_sample", 3),
    ],
)
def test_parts_of_a_recipes_model(name: str, parts: int) -> None:
    divided = DividedModel(load_recipe(name).for_training().build_model(), Recorded(), None)
    paths = [part.name for part in divided.parts]
    assert len(paths) == parts
    backbone = ["backbone"] if parts == 3 else ["backbone.conv1", "backbone.layer1"]
    assert [path.removeprefix("detector.") for path in paths][: len(backbone)] == backbone


def test_the_fullest_process_is_the_one_with_the_most_that_trains() -> None:
    model = Chain()
    model.first.requires_grad_(False)
    model.third.requires_grad_(False)
    assert fullest(model, 2) == 0  # of 128 and 16 values: 96 are each one's, the bias is frozen
    model.second.weight.requires_grad_(False)
    model.second.bias.requires_grad_(True)
    assert fullest(model, 2) == 1


def test_processes_with_other_batches_wait_for_none_and_share_their_gradients() -> None:
    def gradients() -> list[list[Tensor]]:
        with together(CPU) as ranks:
            model, x = Chain(), torch.full((2, 8), 1.0 + ranks.rank, device="cpu")
            divided = DividedModel(model, ranks, None)
            divided.begin()
            model.forward = lambda batch: Chain.forward(model, batch, whole=ranks.rank == 1)
            divided(x).backward()
            divided.finish()
            if ranks.rank == 0:
                divided.idle()
            else:
                divided(x).backward()
                divided.finish()
            return [part.joined(part.gradients) for part in divided.parts]

    model = Chain()
    for rank in (0, 1, 1):
        model(torch.full((2, 8), 1.0 + rank, device="cpu"), whole=rank == 1).backward()
    wanted = [parameter.grad for parameter in model.parameters()]
    for parts in in_processes(2, gradients):
        for summed, expected in zip((g for part in parts for g in part), wanted, strict=True):
            if expected is not None:
                torch.testing.assert_close(summed, expected)
