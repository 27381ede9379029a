"""Why a step was skipped: each story injects one fault, and the culprit must be that one."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from halftrack.precision import (
    Culprit,
    Precision,
    StaticLossScale,
    find_culprit,
    fp32_island,
    optimizer_step,
)

FP16 = Precision("fp16", 512.0)
FP32 = Precision()
THE_MODEL = "the model itself"
Losses = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rows:
    x: Tensor
    target: Tensor
    sample_ids: tuple[str, ...] = ("a", "b", "c")


class Net(nn.Module):
    """A convolution, a batch norm and two heads; ``fault`` is what a story does with them."""

    def __init__(self, fault: Callable[[Net, Rows], Losses]) -> None:
        super().__init__()
        self.fault = fault
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.heads = nn.ModuleDict({"score": nn.Linear(16, 5), "box": nn.Linear(16, 5)})
        self.weight = nn.Parameter(torch.ones(3, 1))

    def forward(self, rows: Rows) -> Losses:
        return self.fault(self, rows)

    def pooled(self, rows: Rows) -> Tensor:
        maps = self.norm(self.conv(rows.x)).relu()
        return F.adaptive_avg_pool2d(maps.float(), 2).flatten(1)

    def two_losses(self, rows: Rows) -> dict[str, Tensor]:
        pooled = self.pooled(rows)
        apart = self.heads["box"](pooled).float() - rows.target
        return {
            "loss_score": self.heads["score"](pooled).float().logsumexp(1).mean(),
            "loss_box": F.smooth_l1_loss(apart, torch.zeros_like(apart)),
        }


def clean(net: Net, rows: Rows) -> Losses:
    return net.two_losses(rows)


def rows(seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((3, 2, 6, 6), generator=generator)
    return Rows(x, torch.randn((3, 5), generator=generator))


def net(fault: Callable[[Net, Rows], Losses] = clean) -> Net:
    torch.manual_seed(0)
    return Net(fault).train()


def culprit_of(
    model: Net,
    batch: Rows | None = None,
    *,
    precision: Precision = FP16,
    loss_scale: float = 512.0,
) -> Culprit | None:
    return find_culprit(
        model, [batch or rows()], model, precision=precision, loss_scale=loss_scale, device="cpu"
    )


def log_of_zero(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    return losses | {"loss_box": losses["loss_box"] + (losses["loss_box"] * 0.0).log()}


def zero_over_zero(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    nothing = losses["loss_score"] * 0.0
    return losses | {"loss_score": nothing / nothing.detach()}


def division_by_zero(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    count = (batch.target > 1e9).sum()
    return losses | {"loss_score": losses["loss_score"] / count}


def mask_of_infinity_times_zero(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    far = torch.full((5,), torch.inf)
    score = model.heads["score"](model.pooled(batch)).float()
    return losses | {"loss_score": (score * (far * 0.0)).sum()}


def masked_log_of_zero(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    chance = torch.stack([losses["loss_box"] * 0.0, losses["loss_box"]])
    return losses | {"loss_box": (chance.log() * torch.tensor([0.0, 1.0])).sum()}


def where_that_hides_it_forward_only(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    size = torch.stack([losses["loss_box"] * 0.0, losses["loss_box"]])
    safe = torch.where(size > 0, size.sqrt() / size, torch.zeros(()))
    return losses | {"loss_box": safe.sum()}


def softmax_of_a_row_all_masked(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    score = model.heads["score"](model.pooled(batch)).float()
    mask = torch.zeros_like(score, dtype=torch.bool)
    mask[1] = True
    attention = score.masked_fill(mask, -torch.inf).softmax(1)
    return losses | {"loss_score": (attention * model.heads["box"].bias).sum()}


def product_of_features(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    features = model.heads["score"](model.pooled(batch)) * 1000.0
    attention = torch.bmm(features[:, :, None], features[:, None, :]).softmax(2)
    return losses | {"loss_score": (attention * attention.detach()).sum().float()}


def square_of_half_features(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    features = model.heads["box"](model.pooled(batch)) * 1000.0
    return losses | {"loss_box": (features * features).float().mean()}


def cast_of_a_large_value(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    return losses | {"loss_box": model.heads["box"](model.pooled(batch) * 1e6).float().mean()}


def huge_gradient(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    return losses | {"loss_box": losses["loss_box"] * 1e6}


def two_gradients_that_only_together_overflow(model: Net, batch: Rows) -> Losses:
    score = model.heads["score"](model.pooled(batch))[0, 0].float()
    return {"loss_one": score * 100.0, "loss_two": score * 100.0}


def normalised_zero_in_half(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    features = model.heads["score"](model.pooled(batch)) * 0.0
    length = (features * features).sum(1, dtype=features.dtype, keepdim=True).sqrt()
    # 1e-12 is zero in half: the clamp clamps nothing.
    return losses | {"loss_score": (features / length.clamp(min=1e-12)).float().sum()}


def island_that_overflows_fp32(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    huge = fp32_island(lambda x: (x * 1e30) * (x * 1e30))
    features = model.heads["box"](model.pooled(batch))
    return losses | {"loss_box": huge(features).mean()}


def recomputed(model: Net, batch: Rows) -> Losses:
    def stage(x: Tensor) -> Tensor:
        return model.heads["score"](x) * 1e7

    out = checkpoint(stage, model.pooled(batch), use_reentrant=False)
    return {"loss_score": out.float().square().mean()}


def sum_of_squares_alone(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    return {"loss_box": (losses["loss_box"] + losses["loss_score"]) * 3e19}


def exp_whose_infinity_is_saved(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    large = (torch.stack([losses["loss_box"] + 200.0, losses["loss_box"]])).exp()
    return losses | {"loss_box": torch.where(large > 1e9, 0.0, large).sum()}


def root_of_a_negative(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    return losses | {"loss_score": (losses["loss_score"] - 1e3).sqrt()}


def in_place(model: Net, batch: Rows) -> Losses:
    losses = model.two_losses(batch)
    features = model.heads["box"](model.pooled(batch)) * 1.0
    features *= 1e6
    return losses | {"loss_box": features.float().mean()}


Expected = tuple[str, str, str | None, str, str | None]
STORIES: dict[str, tuple[Callable[[Net, Rows], Losses], Precision, float, Expected]] = {
    "log of zero": (
        log_of_zero,
        FP32,
        1.0,
        (THE_MODEL, "log", "forward", "overflow", "loss_box"),
    ),
    "zero over zero": (
        zero_over_zero,
        FP16,
        512.0,
        (THE_MODEL, "div", "forward", "NaN", "loss_score"),
    ),
    "a sum over nothing divided by its count": (
        division_by_zero,
        FP32,
        1.0,
        (THE_MODEL, "div", "forward", "overflow", "loss_score"),
    ),
    "a deliberate infinity times zero": (
        mask_of_infinity_times_zero,
        FP32,
        1.0,
        (THE_MODEL, "mul", "forward", "0 x inf", "loss_score"),
    ),
    "zero times the log of zero": (
        masked_log_of_zero,
        FP16,
        512.0,
        (THE_MODEL, "log", "forward", "overflow", "loss_box"),
    ),
    "a where that hides NaN forward and not backward": (
        where_that_hides_it_forward_only,
        FP32,
        1.0,
        (THE_MODEL, "div", "backward", "NaN", "loss_box"),
    ),
    "softmax of a row that is masked throughout": (
        softmax_of_a_row_all_masked,
        FP16,
        512.0,
        (THE_MODEL, "softmax", "forward", "0 x inf", "loss_score"),
    ),
    "an attention product": (
        product_of_features,
        FP16,
        512.0,
        (THE_MODEL, "bmm", "forward", "overflow", "loss_score"),
    ),
    "a square in half": (
        square_of_half_features,
        FP16,
        512.0,
        (THE_MODEL, "mul", "forward", "overflow", "loss_box"),
    ),
    "a cast of what half cannot hold": (
        cast_of_a_large_value,
        FP16,
        512.0,
        ("heads.box", "cast", "forward", "overflow", "loss_box"),
    ),
    "a gradient that is huge": (
        huge_gradient,
        FP16,
        512.0,
        (THE_MODEL, "cast", "backward", "overflow", "loss_box"),
    ),
    "a zero vector normalised in half": (
        normalised_zero_in_half,
        FP16,
        512.0,
        (THE_MODEL, "div", "forward", "NaN", "loss_score"),
    ),
    "an island that overflows fp32": (
        island_that_overflows_fp32,
        FP16,
        512.0,
        (THE_MODEL, "mul", "forward", "overflow", "loss_box"),
    ),
    "a stage that is computed again": (
        recomputed,
        FP16,
        512.0,
        (THE_MODEL, "mul", "forward", "overflow", "loss_score"),
    ),
    "an infinity kept for the backward pass": (
        exp_whose_infinity_is_saved,
        FP32,
        1.0,
        (THE_MODEL, "exp", "forward", "overflow", "loss_box"),
    ),
    "the root of a negative number": (
        root_of_a_negative,
        FP32,
        1.0,
        (THE_MODEL, "sqrt", "forward", "NaN", "loss_score"),
    ),
    "an overflow in place": (
        in_place,
        FP16,
        512.0,
        (THE_MODEL, "mul", "forward", "overflow", "loss_box"),
    ),
}


def facts(culprit: Culprit | None) -> Expected:
    assert culprit is not None
    return (culprit.where, culprit.operation, culprit.direction, culprit.kind, culprit.loss_term)


@pytest.mark.parametrize("story", STORIES)
def test_the_culprit_of_this_story_is_named(story: str) -> None:
    fault, precision, scale, expected = STORIES[story]
    found = culprit_of(net(fault), precision=precision, loss_scale=scale)
    assert facts(found) == expected, str(found)


def holed(tensor: Tensor, value: float, row: int) -> Tensor:
    changed = tensor.clone()
    changed[row].view(-1)[0] = value
    return changed


# An infinite target is none: the smooth L1 loss of it has a finite gradient.
@pytest.mark.parametrize(
    ("name", "value"), [("x", math.nan), ("x", math.inf), ("target", math.nan)]
)
def test_a_batch_that_is_not_finite_is_named_with_its_sample(name: str, value: float) -> None:
    batch = rows()
    parts = {"x": batch.x, "target": batch.target}
    parts[name] = holed(parts[name], value, 1)
    found = culprit_of(net(), Rows(**parts), precision=FP32, loss_scale=1.0)
    assert found is not None
    kind = "NaN" if math.isnan(value) else "infinity"
    assert (found.where, found.operation, found.direction, found.kind) == (
        name,
        "batch",
        None,
        kind,
    )
    assert found.bad_samples == ("b",)
    assert found.sample_ids == ("a", "b", "c")
    held = "NaN" if math.isnan(value) else "an infinity"
    assert str(found) == f"batch {name} of b held {held}"


def spoil(model: Net, name: str, value: float) -> None:
    with torch.no_grad():
        dict([*model.named_parameters(), *model.named_buffers()])[name].view(-1)[0] = value


@pytest.mark.parametrize("precision", [FP32, Precision("bf16"), FP16])
def test_a_parameter_that_was_nan_before_is_named(precision: Precision) -> None:
    model = net()
    spoil(model, "heads.box.weight", math.nan)
    found = culprit_of(model, precision=precision)
    assert facts(found) == ("heads.box.weight", "parameter", None, "NaN", "loss_box")
    assert str(found) == "parameter heads.box.weight held NaN before the step"


def test_a_buffer_that_was_infinite_before_is_named() -> None:
    model = net()
    model.norm.eval()
    spoil(model, "norm.running_mean", math.inf)
    assert facts(culprit_of(model))[:4] == ("norm.running_mean", "buffer", None, "infinity")


def test_a_negative_variance_is_named_at_its_batch_norm() -> None:
    model = net()
    model.norm.eval()
    spoil(model, "norm.running_var", -1.0)
    assert facts(culprit_of(model)) == ("norm", "batch_norm", "forward", "NaN", None)


@pytest.mark.parametrize(
    ("part", "operation", "term"),
    [
        ("conv", "convolution", None),
        ("heads.score", "addmm", "loss_score"),
        ("heads.box", "addmm", "loss_box"),
    ],
)
def test_weights_that_grew_overflow_in_their_own_layer(
    part: str, operation: str, term: str | None
) -> None:
    model = net()
    with torch.no_grad():
        model.get_submodule(part).weight.fill_(6e4)
    found = culprit_of(model)
    assert found is not None
    assert facts(found) == (part, operation, "forward", "overflow", term)
    assert found.magnitude is not None
    assert found.magnitude > 65504
    assert found.fits_at is None
    assert f"no loss scale helps; keep {part} in fp32 (precision.keep_fp32)" in str(found)


def test_an_overflowing_weight_gradient_is_named_with_the_scale_at_which_it_fits() -> None:
    def large_gradient(model: Net, batch: Rows) -> Losses:
        losses = model.two_losses(batch)
        score = model.heads["score"](model.pooled(batch) * 500.0)
        return losses | {"loss_score": score[:, 0].float().sum()}

    found = culprit_of(net(large_gradient), loss_scale=65536.0 / 2)
    assert found is not None
    assert facts(found) == ("heads.score", "addmm", "backward", "overflow", "loss_score")
    assert found.fits_at is not None
    assert f"the step fits at loss scale {found.fits_at:g} or less (was 32768)" in str(found)
    # The promise holds, and no larger power of two would have done.
    assert culprit_of(net(large_gradient), loss_scale=found.fits_at) is None
    assert culprit_of(net(large_gradient), loss_scale=found.fits_at * 2) == (
        dataclasses.replace(found, loss_scale=found.fits_at * 2)
    )


def test_of_a_sum_that_no_term_gives_alone_no_term_is_named() -> None:
    model = net(two_gradients_that_only_together_overflow)
    assert facts(culprit_of(model)) == (THE_MODEL, "cast", "backward", "overflow", None)
    assert culprit_of(model, loss_scale=256.0) is None


def test_squares_that_overflow_fp32_are_named_with_the_largest_gradient() -> None:
    found = culprit_of(net(sum_of_squares_alone), precision=FP32, loss_scale=1.0)
    assert found is not None
    assert (found.operation, found.direction, found.kind) == ("norm", None, "overflow")
    assert found.magnitude is not None
    assert 1.8e19 < found.magnitude < 1e22
    assert "no loss scale helps" in str(found)


def test_gradients_of_two_batches_that_overflow_together_are_named_where_they_add_up() -> None:
    def near_the_end(model: Net, batch: Rows) -> Losses:
        return {"loss": model.weight[0, 0] * 2e38}

    model, batches = net(near_the_end), [rows(0), rows(1)]
    found = find_culprit(model, batches, model, precision=FP32, loss_scale=1.0, device="cpu")
    assert facts(found) == (THE_MODEL, "add", "backward", "overflow", None)


def test_the_second_batch_of_a_step_is_blamed_with_its_samples() -> None:
    second = dataclasses.replace(rows(1), sample_ids=("d", "e", "f"))
    bad = dataclasses.replace(second, x=holed(second.x, math.nan, 2))
    model = net()
    found = find_culprit(model, [rows(), bad], model, precision=FP16, loss_scale=8.0, device="cpu")
    assert found is not None
    assert (found.where, found.bad_samples) == ("x", ("f",))


@pytest.mark.parametrize("precision", [FP32, Precision("bf16"), FP16])
def test_a_step_that_is_finite_has_no_culprit(precision: Precision) -> None:
    assert culprit_of(net(), precision=precision) is None


def test_deliberate_infinities_that_do_no_harm_are_not_blamed() -> None:
    def masked(model: Net, batch: Rows) -> Losses:
        losses = model.two_losses(batch)
        score = model.heads["score"](model.pooled(batch)).float()
        allowed = torch.ones_like(score, dtype=torch.bool).tril()
        attention = score.masked_fill(~allowed, -torch.inf).softmax(1)
        nearest = torch.where(allowed, attention, torch.inf).amin(1)
        return losses | {"loss_score": losses["loss_score"] + nearest.sum()}

    assert culprit_of(net(masked)) is None

    def then_a_fault(model: Net, batch: Rows) -> Losses:
        return log_of_zero(model, batch) | {"loss_score": masked(model, batch)["loss_score"]}

    found = culprit_of(net(then_a_fault), precision=FP32, loss_scale=1.0)
    assert facts(found) == (THE_MODEL, "log", "forward", "overflow", "loss_box")


def test_a_loss_that_is_infinite_with_finite_gradients_is_named_where_nothing_else_is() -> None:
    def constant(model: Net, batch: Rows) -> Losses:
        losses = model.two_losses(batch)
        return losses | {"loss_box": losses["loss_box"] + torch.zeros(()).log()}

    found = culprit_of(net(constant), precision=FP32)
    assert facts(found) == (THE_MODEL, "log", "forward", "overflow", "loss_box")

    def overflowing(model: Net, batch: Rows) -> Losses:
        losses = model.two_losses(batch)
        return losses | {"loss_box": (losses["loss_box"] + 1e6).half()}

    taken, faulty = rows(0), rows(1)
    found = culprit_of(net(overflowing))
    assert facts(found) == (THE_MODEL, "cast", "forward", "overflow", "loss_box")

    def then_a_gradient(model: Net, batch: Rows) -> Losses:
        return (huge_gradient if batch is faulty else overflowing)(model, batch)

    model = net(then_a_gradient)
    first, second = (
        find_culprit(model, batches, model, precision=FP16, loss_scale=512.0, device="cpu")
        for batches in ([faulty], [taken, faulty])
    )
    assert first is not None
    assert first.direction == "backward"
    assert second == first


def test_the_model_and_the_random_numbers_are_left_as_they_were() -> None:
    model = net(log_of_zero)
    model.weight.grad = torch.full((3, 1), 7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert culprit_of(model) is not None
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.weight.grad, torch.full((3, 1), 7.0))
    assert model.conv.weight.grad is None
    assert model.training


def test_a_culprit_survives_json() -> None:
    found = culprit_of(net(huge_gradient))
    assert found is not None
    again = Culprit.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again.to_dict() == found.to_dict()
    assert again == found


def test_rows_that_are_as_many_as_samples_by_chance_are_not_taken_for_them() -> None:
    def three_chosen(model: Net, batch: Rows) -> Losses:
        losses = model.two_losses(batch)
        chosen = batch.target.flatten()[[7, 1, 2]] * 0.0
        return losses | {"loss_box": losses["loss_box"] * (chosen / chosen).sum()}

    found = culprit_of(net(three_chosen), precision=FP32)
    assert facts(found) == (THE_MODEL, "div", "forward", "NaN", "loss_box")
    assert found is not None
    assert found.bad_samples == ()


def test_a_bad_gradient_in_one_optimizer_of_two_is_explained() -> None:
    model = net(log_of_zero)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(model.heads[name].named_parameters(), lr=0.1) for name in ("score", "box")
    ]
    sum(model(rows()).values()).backward()
    assert torch.isfinite(model.heads["score"].weight.grad).all()
    assert optimizer_step(optimizers, StaticLossScale(512.0)).skipped
    found = culprit_of(model, precision=FP32, loss_scale=512.0)
    assert facts(found) == (THE_MODEL, "log", "forward", "overflow", "loss_box")


@pytest.mark.parametrize(("head", "skipped"), [("score", False), ("box", True)])
def test_only_gradients_that_an_optimizer_takes_are_asked_for(head: str, skipped: bool) -> None:
    def root_of_zero(model: Net, batch: Rows) -> Losses:
        losses = model.two_losses(batch)
        return losses | {"loss_box": losses["loss_box"] + (losses["loss_box"] * 0.0).sqrt()}

    model = net(root_of_zero)
    optimizer = torch.optim.SGD(model.heads[head].parameters(), lr=0.1)
    sum(model(rows()).values()).backward()
    assert optimizer_step([optimizer], StaticLossScale(512.0)).skipped == skipped
    found = find_culprit(
        model,
        [rows()],
        model,
        precision=FP32,
        loss_scale=512.0,
        device="cpu",
        parameters=model.heads[head].parameters(),
    )
    assert (found is not None) == skipped


def test_a_constant_that_was_nan_is_named_at_the_module_that_keeps_it() -> None:
    model = net(lambda model, batch: {"loss": model.two_losses(batch)["loss_box"] * model.factor})
    model.factor = torch.tensor(math.nan)
    found = culprit_of(model, precision=FP32)
    assert facts(found) == (THE_MODEL, "constant", None, "NaN", "loss")
    assert str(found) == "a constant in the model itself held NaN"


def test_a_deliberate_infinity_is_named_where_it_becomes_a_gradient() -> None:
    def far(model: Net, batch: Rows) -> Losses:
        return {"loss": model.two_losses(batch)["loss_box"] * torch.full((), torch.inf)}

    found = culprit_of(net(far), precision=FP32)
    assert facts(found) == (THE_MODEL, "mul", "backward", "infinity", "loss")
    assert "mul in the model itself for loss passed a deliberate infinity on" in str(found)


@dataclass(frozen=True)
class Boxes(Rows):
    faulty: tuple[str, ...] = ()

    def faulty_targets(self) -> tuple[str, ...]:
        return self.faulty


def sized(net: Net, rows: Rows) -> Losses:
    """The loss takes the logarithm of a target, as that of a box's size."""
    wanted = rows.target.clamp(min=0).log()
    return {"loss_box": (net.heads["box"](net.pooled(rows)).float() - wanted).square().mean()}


def test_a_target_without_area_is_named_with_its_sample() -> None:
    batch = Boxes(rows().x, torch.zeros(3, 5), faulty=("b",))
    found = culprit_of(net(sized), batch)
    assert found is not None
    assert found.operation == "target"
    assert str(found).startswith("the target of b has no area or is not finite")
    # Another fault keeps its name, and so do targets that nobody calls faulty.
    assert culprit_of(net(sized), dataclasses.replace(batch, faulty=())).operation == "log"
    assert culprit_of(net(), dataclasses.replace(batch, x=batch.x * 0)) is None


def test_the_module_that_reads_anothers_weights_is_named_and_helps_when_kept_in_fp32() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 1))
    with torch.no_grad():
        model[0].self_attn.out_proj.weight.mul_(1e6)
    batch = Rows(torch.randn(3, 4, 8), torch.zeros(0))

    def culprit(precision: Precision) -> Culprit | None:
        precision.keep_in_fp32(model)
        return find_culprit(
            model,
            [batch],
            lambda rows: {"loss": model(rows.x).sum()},
            precision=precision,
            loss_scale=1.0,
            device="cpu",
        )

    found = culprit(Precision("fp16", 1.0))
    assert found is not None
    assert found.where == "0.self_attn"
    assert culprit(Precision("fp16", 1.0, (found.where,))) is None


def test_statistics_that_an_earlier_step_spoilt_are_not_blamed_while_they_only_learn() -> None:
    model = net()
    for name in ("running_mean", "running_var"):
        getattr(model.norm, name).fill_(torch.nan)
    with torch.no_grad():
        model.conv.weight.mul_(1e6)
    found = culprit_of(model)
    assert found is not None
    assert (found.where, found.direction) == ("conv", "forward")
    model.norm.eval()
    found = culprit_of(model)
    assert found is not None
    assert (found.where, found.operation) == ("norm.running_mean", "buffer")
