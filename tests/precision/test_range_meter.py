"""The meter sees what becomes half, by module, unscaled, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from halftrack.precision import (
    Histogram,
    LiveBytes,
    LossScaleAdvice,
    Precision,
    RangeMeter,
    Ranges,
    fp32_island,
    optimizer_step,
)
from halftrack.precision.range_meter import _without_mask


class Net(nn.Module):
    """Convolutions, an activation product between modules, an fp32 island, a linear layer."""

    def __init__(self, *, recompute: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recompute = recompute
        self.stem = nn.Conv2d(3, 16, 3)
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3))
        self.gate = Gate()
        self.fc = nn.Linear(16 * 64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).relu()
        x = checkpoint(self.body, x, use_reentrant=False) if self.recompute else self.body(x)
        logits: Tensor = self.fc(self.gate(x).flatten(1))
        return F.cross_entropy(logits.float(), torch.arange(len(images), device=images.device))


class Gate(nn.Module):
    """No parameters: a product of halves, then one that stays fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return self.island(x * x)

    @staticmethod
    @fp32_island
    def island(x: Tensor) -> Tensor:
        return x @ x


def images() -> Tensor:
    return torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def step(model: nn.Module, *, scale: float, weight: float = 1.0, name: str = "fp16") -> None:
    precision = Precision(name, scale if name == "fp16" else None)
    device = next(model.parameters()).device
    model.zero_grad(set_to_none=True)
    with precision.arithmetic(device):
        with precision.autocast(device):
            loss = model(images().to(device)) * weight
        precision.new_loss_scale().scale(loss).backward()


def measured(model: nn.Module, *, scale: float, weight: float = 1.0, name: str = "fp16") -> Ranges:
    with RangeMeter(model, loss_scale=scale if name == "fp16" else 1.0) as meter:
        step(model, scale=scale, weight=weight, name=name)
    return meter.ranges


class Roundings(TorchDispatchMode):
    """Halves that the backward pass rounds from fp32, and what they lost, counted on their own."""

    def __init__(self) -> None:
        super().__init__()
        self.nonzero = self.kept = self.infinite = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        backward = torch._C._current_graph_task_id() != -1
        if not backward or not isinstance(result, Tensor) or result.dtype != torch.float16:
            return result
        aten = torch.ops.aten
        if func in (aten.mul.Tensor, aten.sum.dim_IntList):
            self.add(func(args[0].float(), *args[1:]), result)
        elif func in (aten._to_copy.default, aten.to.dtype):
            self.add(args[0], result)
        return result

    def add(self, exact: Tensor, rounded: Tensor) -> None:
        self.nonzero += int((exact != 0).sum())
        self.kept += int(((rounded != 0) & rounded.isfinite()).sum())
        self.infinite += int((~rounded.isfinite()).sum())


@pytest.mark.parametrize("weight", [1.0, 1e-2])
def test_the_lost_share_at_any_scale_is_foretold_from_one_step(weight: float) -> None:
    model = Net()
    with Roundings() as whole:
        advice = LossScaleAdvice(measured(model, scale=1024.0, weight=weight).gradients)
    for scale in (1.0, 8.0, 512.0, 4096.0, 65536.0, 2.0**30):
        with Roundings() as found:
            step(model, scale=scale, weight=weight)
        assert bool(advice.overflows(scale)) == (found.infinite > 0)
        if not found.infinite:
            share = 1 - found.kept / whole.nonzero
            assert advice.lost_share(scale) == pytest.approx(share, abs=1e-3)
    assert advice.lost_share(1.0) > 1e-3
    assert advice.overflows(2.0**30)


def test_gradients_are_told_without_the_loss_scale() -> None:
    model = Net()
    small, large = (measured(model, scale=scale) for scale in (64.0, 256.0))
    assert small.weight_gradients["fc"] == large.weight_gradients["fc"]
    assert small.weight_gradients["fc"].nonzero


def test_values_belong_to_the_module_that_ran_forward_and_backward(device: torch.device) -> None:
    ranges = measured(Net().to(device), scale=512.0)
    assert set(ranges.activations) == {"stem", "body.0", "body.2", "gate", "fc"}
    assert set(ranges.weight_gradients) == {"stem", "body.0", "body.2", "fc"}
    assert set(ranges.activation_gradients) == {"", "body.0", "body.2", "gate", "fc"}
    # The images, cast for the stem, and what it makes of them.
    assert ranges.activations["stem"].total == 4 * 3 * 12 * 12 + 4 * 16 * 10 * 10
    # The logits, which the loss reads in fp32.
    assert ranges.activation_gradients[""].total == 4 * 10
    assert ranges.weight_gradients["stem"].total == 16 * 3 * 9 + 16
    assert set(ranges.gradients) == {"", "stem", "body.0", "body.2", "gate", "fc"}


def test_an_activation_is_seen_before_it_overflows() -> None:
    model = Net()
    with torch.no_grad():
        model.stem.weight.mul_(2.0**16)
        model.body[0].weight.zero_()
    ranges = measured(model, scale=1.0)
    assert -4 <= ranges.near_overflow()["stem"] < 0
    assert ranges.activations["stem"].infs == 0
    assert "fc" not in ranges.near_overflow()


def test_what_is_computed_again_in_the_backward_pass_counts_once() -> None:
    plain, again = (measured(Net(recompute=flag), scale=512.0) for flag in (False, True))
    assert plain == again


def test_bf16_has_no_loss_scale_and_is_seen_as_well() -> None:
    ranges = measured(Net(), scale=1.0, name="bf16")
    assert set(ranges.weight_gradients) == {"stem", "body.0", "body.2", "fc"}


def test_in_fp32_nothing_becomes_half() -> None:
    assert measured(Net(), scale=1.0, name="fp32") == Ranges()


def test_no_hook_is_left_behind_not_even_by_an_error() -> None:
    model = Net()
    with pytest.raises(RuntimeError, match="no such step"), RangeMeter(model):
        raise RuntimeError("no such step")
    measured(model, scale=512.0)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._forward_hooks_always_called


def test_the_step_is_the_same_with_the_meter() -> None:
    plain, metered = Net(), Net()
    step(plain, scale=512.0)
    measured(metered, scale=512.0)
    for ours, theirs in zip(metered.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_whoever_would_hide_the_step_is_refused() -> None:
    model = Net()
    precision = Precision("fp16", 512.0)
    with precision.arithmetic("cpu"), pytest.raises(RuntimeError, match=r"before precision\.arith"):
        RangeMeter(model).__enter__()
    with LiveBytes(model), pytest.raises(RuntimeError, match="not together with LiveBytes"):
        RangeMeter(model).__enter__()


@pytest.mark.parametrize(
    ("update", "fp16", "bf16"),
    [(2.0**-8 * 1.5, 0.0, 0.0), (2.0**-8, 0.0, 0.5), (2.0**-10, 0.0, 0.5), (2.0**-11, 0.5, 0.5)],
)
def test_updates_under_a_2048th_or_256th_of_the_weight_are_lost_in_half(
    update: float, fp16: float, bf16: float
) -> None:
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0, 1.0]]))
    layer.weight.grad = torch.tensor([[-update, update, 0.0]])
    optimizer = torch.optim.SGD(layer.named_parameters(), lr=1.0)
    meter = RangeMeter(layer)
    with meter.updates():
        optimizer_step([optimizer], Precision().new_loss_scale())
    # The third weight did not change; one that is 0 has nothing to lose.
    assert meter.ranges.updates[""] == Histogram.of(torch.tensor([update, update, 0.0]))
    assert meter.ranges.lost_updates(torch.float16) == {"": fp16}
    assert meter.ranges.lost_updates(torch.bfloat16) == {"": bf16}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_mask_of_the_smallest_number_is_no_activation_near_overflow(dtype: torch.dtype) -> None:
    class Masked(nn.Module):
        def forward(self, scores: Tensor, hidden: Tensor) -> Tensor:
            mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill(
                hidden, torch.finfo(dtype).min
            )
            return (scores.half() + mask.half()) + 1.0

    model, scores = Masked(), torch.linspace(-9.0, 9.0, 8)
    with RangeMeter(model) as meter, Precision.named("fp16").autocast("cpu"):
        model(scores, torch.arange(8) > 5)
    assert not meter.ranges.near_overflow()
    with RangeMeter(model) as meter, Precision.named("fp16").autocast("cpu"):
        model(scores * 6000.0, torch.arange(8) > 5)
    assert meter.ranges.near_overflow() == {"": 0}


def test_updates_of_complex_weights_are_those_of_their_parts() -> None:
    model = nn.Module()
    model.filters = nn.Parameter(torch.tensor([1.0 + 2.0j, 4.0j]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with RangeMeter(model) as meter:
        model.filters.abs().square().sum().backward()
        with meter.updates():
            optimizer.step()
    assert meter.ranges.updates[""].counts == {0: 1, 1: 1, 2: 1}
    assert meter.ranges.updates[""].zeros == 1


# Torch says so of its own; people have such models.
@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_a_scripted_part_is_metered_with_the_module_that_calls_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), torch.jit.script(nn.Linear(4, 4)))
    with RangeMeter(model) as meter, Precision.named("fp16").arithmetic("cpu"):
        with Precision.named("fp16").autocast("cpu"):
            out = model(torch.ones(1, 4))
        out.sum().backward()
    assert set(meter.ranges.activations) == {"", "0"}


def test_any_loss_scale_is_taken_out_of_gradients() -> None:
    found = []
    for scale in (1024.0, 1000.0):
        layer = nn.Linear(4, 4)
        nn.init.constant_(layer.weight, 0.3)
        precision = Precision("fp16", scale)
        with RangeMeter(layer, loss_scale=scale) as meter, precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                out = layer(torch.full((1, 4), 0.7))
            (scale * out.sum()).backward()
        found.append(meter.ranges.gradients[""].counts)
    assert found[0] == found[1]
    with pytest.raises(ValueError, match=r"loss scale 0\.0 is not a positive, finite number"):
        RangeMeter(layer, loss_scale=0.0)


def test_a_mask_of_minus_infinity_is_no_activation_and_an_overflow_is_seen_before_it() -> None:
    scores = torch.tensor([[1.0, 2.0]]) * 70000.0
    hidden, zeros = torch.tensor([[False, True]]), torch.zeros(1, 2).half()
    with RangeMeter(nn.Module()) as meter:
        scores.masked_fill(hidden, -torch.inf).half()
        assert (scores.neg().half() + zeros).isinf().all()
    seen = meter.ranges.activations[""]
    assert (seen.total, seen.infs) == (3, 0)
    assert meter.ranges.near_overflow() == {"": -2}
    for dtype in (torch.float16, torch.bfloat16):
        already_half = torch.tensor([-torch.inf, torch.finfo(dtype).min, 1.0]).to(dtype)
        assert _without_mask(already_half).tolist() == [-torch.inf, 1.0]


@pytest.mark.parametrize("weight", [-1e6, 1e6])
def test_a_weight_that_overflows_in_its_cast_is_an_activation_near_overflow(weight: float) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[1].weight[2, 1] = weight
    fp16 = Precision.named("fp16")
    with RangeMeter(model) as meter, fp16.arithmetic("cpu"), fp16.autocast("cpu"):
        model(torch.ones(2, 4))
    assert meter.ranges.near_overflow() == {"1": -4}


def test_no_rows_at_all_are_metered_as_nothing() -> None:
    layer = nn.Linear(4, 4)
    with RangeMeter(layer) as meter, Precision.named("fp16").autocast("cpu"):
        assert layer(torch.zeros(0, 4)).shape == (0, 4)
    assert not meter.ranges.near_overflow()
