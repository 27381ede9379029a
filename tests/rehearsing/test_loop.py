"""A loop of the user's own is watched: scalers, GANs, accumulation, exceptions."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from halftrack.errors import UserError
from halftrack.precision import Precision
from halftrack.rehearsing import Report, watching
from halftrack.rehearsing.page import page

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3


def net(factor: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        model[0].weight.mul_(factor)
    return model


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def half() -> Any:
    return torch.autocast("cpu", dtype=torch.float16)


def loop(
    model: nn.Module, scaler: Any, *, steps: int = 3, accumulate: int = 1, x: Tensor = X
) -> None:
    """A loop as people write it."""
    optimizer = sgd(model)
    for _ in range(steps):
        for _ in range(accumulate):
            with half():
                loss = F.cross_entropy(model(x), LABELS) / accumulate
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


def watched(model: nn.Module, run: Callable[[], object], **how: Any) -> Report:
    with watching(model, **how) as watch:
        run()
    return watch.report


@pytest.mark.parametrize("scale", [1000.0, 3.0])
def test_any_scale_will_do(scale: float) -> None:
    model = net()
    scaler = lambda: torch.amp.GradScaler("cpu", init_scale=scale)  # noqa: E731
    report = watched(model, lambda: loop(model, scaler(), steps=1))
    assert report.steps[0].loss_scale == scale
    assert report.must_change == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.amp.GradScaler("cpu", init_scale=256.0),
        lambda: torch.amp.GradScaler("cuda", init_scale=256.0),
        lambda: torch.amp.GradScaler(init_scale=256.0),
    ],
    ids=["cpu", "cuda", "default"],
)
def test_a_loop_with_a_scaler_is_watched(make: Callable[[], Any]) -> None:
    model = net()
    before = model[0].weight.detach().clone()
    report = watched(model, lambda: loop(model, make()))
    assert [each.loss_scale for each in report.steps] == [256.0] * 3
    assert not any(each.skipped for each in report.steps)
    losses = [each.losses["loss"] for each in report.steps]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(1.1, abs=0.5)
    assert report.must_change == ()
    assert report.sampled == (1,)
    assert report.advice is not None
    assert "halftrack.plan" in str(report)
    assert not torch.equal(before, model[0].weight)


def test_gradients_are_told_without_their_scale() -> None:
    one, other = net(), net()
    small = watched(one, lambda: loop(one, torch.amp.GradScaler("cpu", init_scale=2.0**8)))
    large = watched(other, lambda: loop(other, torch.amp.GradScaler("cpu", init_scale=2.0**10)))
    largest = [max(r.ranges.weight_gradients["3"].counts) for r in (small, large)]
    assert largest[0] == largest[1]
    assert small.steps[0].grad_norm == pytest.approx(large.steps[0].grad_norm, rel=1e-2)


def test_an_overflow_forward_skips_the_step_and_is_named() -> None:
    model = net(1e6)
    report = watched(model, lambda: loop(model, torch.amp.GradScaler("cuda")))
    assert all(each.skipped for each in report.steps)
    assert [each.loss_scale for each in report.steps] == [2.0**16, 2.0**15, 2.0**14]
    assert {culprit.where for culprit in report.culprits} == {"0"}
    assert report.must_change


def of_mean(weight: float, scale: float) -> Report:
    """A loop whose loss is half and whose gradient is finite whatever the loss is."""
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.fill_(weight)

    def run() -> None:
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=scale)
        with half():
            loss = model(torch.ones(8, 4)).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return watched(model, run)


def test_a_loss_that_is_not_finite_is_told_though_the_step_is_taken() -> None:
    report = of_mean(1e6, 256.0)
    assert not report.steps[0].skipped
    assert report.culprits[0].operation == "cast"
    assert report.must_change[0].startswith("the loss was not finite in step 1: forward cast in")


def test_a_half_loss_that_only_its_scale_makes_infinite_is_no_fault() -> None:
    report = of_mean(8.0, 2.0**15)
    assert not report.steps[0].skipped
    assert report.steps[0].losses["loss"] == pytest.approx(32.0, abs=1.0)
    assert report.must_change == ()


def test_losses_that_are_scaled_together_and_learned_from_apart_are_no_fault() -> None:
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.fill_(8.0)

    def run() -> None:
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=2.0**15)
        with half():
            # Of one dimension: such a half loss stays half where it is scaled, and overflows.
            losses = [model(torch.ones(8, 4)).mean().reshape(1) for _ in range(2)]
        for scaled in [scaler.scale(loss) for loss in losses]:
            scaled.backward()
        scaler.step(optimizer)

    report = watched(model, run)
    assert report.steps[0].losses["loss"] == pytest.approx(64.0, abs=2.0)
    assert report.culprits == ()


@pytest.mark.parametrize("order", [(1.0, 1e6), (1e6, 1.0)])
def test_losses_that_are_scaled_apart_and_learned_from_together_are_added_up(
    order: tuple[float, float],
) -> None:
    model = nn.Linear(4, 2)

    def run() -> None:
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=256.0)
        scaler.scale(torch.tensor(7.0))  # of nothing that is learned from
        for factor in (1.0, *order):
            with half():
                loss = model(torch.ones(8, 4)).mean() + factor
            if factor == order[0]:
                kept = scaler.scale(loss)
        (kept + scaler.scale(loss)).backward()
        scaler.step(optimizer)

    report = watched(model, run)
    assert not report.steps[0].skipped
    assert report.culprits[0].operation == "add"


def test_a_loss_that_overflows_is_named_before_its_gradient_that_does_too() -> None:
    model = nn.Linear(6, 3)

    def run() -> None:
        with half():
            loss = (model(X) * 1e6).float().mean()
        scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=1024.0), sgd(model)
        scaler.scale(loss).backward()
        scaler.step(optimizer)

    (step,) = watched(model, run).steps
    assert step.skipped
    assert step.culprit is not None
    assert (step.culprit.direction, step.culprit.operation) == ("forward", "mul")


class Samples(nn.Module):
    """Samples of several lengths in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[: 1 + place] for place in range(3)]
        inner = self.layer(torch.nested.nested_tensor(parts, layout=torch.jagged)) * 1e6
        return torch.stack([part.mean(0) for part in inner.unbind()])


def test_nested_tensors_are_watched() -> None:
    model = Samples()

    def run() -> None:
        scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=64.0), sgd(model)
        with half():
            loss = F.cross_entropy(model(X), LABELS[:3])
        scaler.scale(loss).backward()
        scaler.step(optimizer)

    (step,) = watched(model, run).steps
    assert step.culprit is not None
    assert (step.culprit.direction, step.culprit.operation) == ("forward", "mul")


# Torch says so of its own: it scripts what forward-mode gradients are made of.
@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_forward_mode_gradients_are_watched() -> None:
    model = net()

    def run() -> None:
        scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=64.0), sgd(model)
        with half():
            outs, slopes = torch.func.jvp(model[0], (X,), (torch.full_like(X, 1e6),))
            loss = F.cross_entropy(outs[:, :3], LABELS) + slopes.float().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)

    (step,) = watched(model, run).steps
    assert step.culprit is not None
    assert (step.culprit.where, step.culprit.operation) == ("0", "cast")


def test_gradients_of_a_torch_func_transform_are_watched() -> None:
    model = net()[0]
    optimizer = sgd(model)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (x[None],)).float().sum() * 2.0**20

    def run() -> None:
        weights = {name: p.detach() for name, p in model.named_parameters()}
        with half():
            per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, X)
        for name, parameter in model.named_parameters():
            parameter.grad = per_sample[name].mean(0)
        optimizer.step()

    report = watched(model, run)
    assert report.culprits[0].kind == "overflow"
    assert report.culprits[0].operation == "cast"


def test_an_overflow_backward_is_named() -> None:
    model = net()
    report = watched(model, lambda: loop(model, torch.amp.GradScaler("cpu", init_scale=2.0**26)))
    assert report.culprits[0].direction == "backward"
    assert report.culprits[0].fits_at is not None
    told = f"this one fits at loss scale {report.culprits[0].fits_at:g} or less"
    assert told in report.skipped[1].why
    assert "the step fits" not in str(report)
    constant = replace(report, precision=Precision("fp16", 2.0**26))
    assert f"loss scale {report.culprits[0].fits_at:g} or less" in constant.must_change


def test_time_ends_with_the_loop() -> None:
    with watching(net()) as watch:
        running = watch.report.seconds
    assert watch.report.seconds == watch.report.seconds > running


def test_accumulated_batches_are_one_step() -> None:
    model = net()
    report = watched(model, lambda: loop(model, torch.amp.GradScaler("cpu"), accumulate=2))
    assert len(report.steps) == 3


def test_optimizers_that_step_within_the_backward_pass_share_the_step() -> None:
    model = net()
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def stepped(parameter: Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    def run() -> None:
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(stepped)
        for factor in (1.0, torch.nan, 1.0):
            with half():
                loss = F.cross_entropy(model(X) * factor, LABELS)
            loss.backward()

    report = watched(model, run)
    assert len(report.steps) == 3
    assert [culprit.operation for culprit in report.culprits] == ["mul", "parameter"]


def test_a_batch_that_is_not_finite_is_named() -> None:
    model = net()
    bad = X.clone()
    bad[2, 3] = torch.nan
    report = watched(model, lambda: loop(model, torch.amp.GradScaler("cpu"), steps=1, x=bad))
    assert report.culprits[0].operation == "batch"


def test_two_networks_take_turns_with_two_optimizers_and_one_scaler() -> None:
    maker, judge = net(), net()
    both = nn.ModuleDict({"maker": maker, "judge": judge})
    optimizers = sgd(maker), sgd(judge)

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        for _ in range(2):
            for module, optimizer in zip((maker, judge), optimizers, strict=True):
                with half():
                    loss = module(X).square().mean()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
            scaler.update()
            both.zero_grad()

    report = watched(both, run)
    assert len(report.steps) == 4


def test_optimizers_that_step_after_one_backward_pass_share_the_step() -> None:
    model = net(1e6)
    optimizers = [sgd(model[0]), sgd(model[3])]

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu")
        with half():
            loss = F.cross_entropy(model(X), LABELS)
        scaler.scale(loss).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()

    report = watched(model, run)
    assert len(report.steps) == 1
    assert report.steps[0].skipped
    assert report.culprits[0].where == "0"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_optimizer_that_skips_alone_is_explained_in_a_shared_step(
    order: tuple[int, int],
) -> None:
    parts = nn.ModuleList([net(), net(1e6)])
    optimizers = [sgd(parts[place]) for place in order]

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        with half():
            losses = [F.cross_entropy(part(X), LABELS) for part in parts]
        scaler.scale(sum(losses)).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()

    report = watched(parts, run)
    (step,) = report.steps
    assert step.skipped
    assert step.culprit is not None
    assert (step.culprit.where, step.culprit.operation) == ("1.0", "cast")


def whole(loss: Tensor) -> None:
    torch.autograd.backward(loss.mean())


def joined(loss: Tensor) -> None:
    torch.autograd.backward([loss[:4].sum() / 8, loss[4:].sum() / 8])


def vector(loss: Tensor) -> None:
    loss.backward(torch.ones(8) / 8)


@pytest.mark.parametrize("backward", [whole, joined, vector])
def test_a_backward_pass_of_any_form_begins_a_step(backward: Callable[[Tensor], None]) -> None:
    model = net()
    optimizer = sgd(model)

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        for _ in range(3):
            with half():
                loss = F.cross_entropy(model(X), LABELS, reduction="none")
            backward(scaler.scale(loss))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    report = watched(model, run)
    assert len(report.steps) == 3
    told = [step.losses for step in report.steps]
    if backward is vector:
        assert told == [{}] * 3
    else:
        assert [each["loss"] for each in told] == pytest.approx([1.1] * 3, abs=0.5)
    page(report)


def test_a_checkpoints_own_backward_pass_is_part_of_its_step() -> None:
    model = net()
    optimizer = sgd(model)
    x = X.clone().requires_grad_()

    def run() -> None:
        for _ in range(2):
            with half():
                checkpointed = checkpoint(lambda x: model(x).square().mean(), x, use_reentrant=True)
            checkpointed.backward()
            optimizer.step()

    report = watched(model, run)
    assert len(report.steps) == 2
    assert report.steps[0].losses["loss"] == pytest.approx(net()(X).square().mean().item(), rel=0.1)


def test_a_step_that_is_skipped_within_a_fused_optimizer_is_explained() -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    before = model[0].weight.detach().clone()

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
        with half():
            loss = F.cross_entropy(model(X), LABELS)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    (step,) = watched(model, run).steps
    assert torch.equal(before, model[0].weight)
    assert step.skipped
    assert step.culprit is not None
    assert step.culprit.direction == "backward"


def test_a_gradient_penalty_is_watched() -> None:
    model = net()
    optimizer = sgd(model)

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        x = X.clone().requires_grad_()
        with half():
            made = model(x).float().square().mean()
        (slope,) = torch.autograd.grad(scaler.scale(made), x, create_graph=True)
        scaler.scale(made + (slope / 64.0).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()

    report = watched(model, run)
    assert report.must_change == ()


def test_bf16_without_a_scaler_is_watched() -> None:
    model = net()
    optimizer = sgd(model)

    def run(x: Tensor) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), LABELS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    report = watched(model, lambda: run(X), precision="bf16")
    assert not report.steps[0].skipped
    assert report.must_change == ()
    bad = X * torch.nan
    report = watched(model, lambda: run(bad), precision="bf16")
    assert report.stopped is not None
    assert "moved the weights by gradients that are not finite: batch input" in report.stopped


def test_a_scaler_made_outside_is_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaler = torch.amp.GradScaler("cuda")
    model = net()
    report = watched(model, lambda: loop(model, scaler, steps=1))
    assert "make it inside" in report.notes[0]


def test_a_loop_without_autocast_is_told() -> None:
    model = net()
    optimizer = sgd(model)

    def run() -> None:
        F.cross_entropy(model(X), LABELS).backward()
        optimizer.step()

    report = watched(model, run)
    assert any("no op was computed in half" in change for change in report.must_change)


def test_an_exception_passes_through_and_is_explained() -> None:
    model = net(1e6)

    def matched() -> None:
        with half():
            made = model(X)
        if not made.isfinite().all():
            raise ValueError("matrix contains invalid numeric entries")

    with pytest.raises(ValueError, match="invalid"), watching(model) as watch:
        matched()
    report = watch.report
    assert isinstance(report.error, ValueError)
    assert report.culprits[0].where == "0"
    with pytest.raises(KeyError), watching(model) as watch:
        raise KeyError("labels")
    assert watch.report.error is None


def test_torch_is_as_before_when_it_is_left() -> None:
    kept = (torch.amp.GradScaler.step, torch.amp.GradScaler.scale, Tensor.backward)
    function = torch.autograd.backward
    model = net()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    watched(model, lambda: loop(model, torch.amp.GradScaler("cpu"), steps=1))
    assert kept == (torch.amp.GradScaler.step, torch.amp.GradScaler.scale, Tensor.backward)
    assert function is torch.autograd.backward
    with pytest.warns(UserWarning, match="Disabling"):
        assert not torch.amp.GradScaler("cuda").is_enabled()
    now = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert now == hooks


def test_mistakes_are_told() -> None:
    model = net()
    with pytest.raises(UserError, match="nothing to rehearse"):
        watching(model, precision="fp32")
    with pytest.raises(UserError, match="every=0: expected at least 1"):
        watching(model, every=0)
    with watching(model), pytest.raises(UserError, match="watched already"), watching(model):
        pass
    report = watched(model, lambda: None)
    assert report.steps == ()
    with pytest.raises(UserError, match="only after halftrack"):
        report.islands()


def test_samples_are_named_by_their_position_in_what_the_model_is_given() -> None:
    model = net()
    x = X.clone()
    x[[1, 5]] = 1e6
    report = watched(model, lambda: loop(model, torch.amp.GradScaler("cpu"), steps=1, x=x))
    (culprit,) = report.culprits
    assert (culprit.where, culprit.operation) == ("0", "cast")
    assert culprit.sample_ids == tuple("01234567")
    assert culprit.bad_samples == ("1", "5")
    assert "samples: 1, 5" in str(report)


class Detector(nn.Module):
    """It returns its losses in a dict, as torchvision's detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes, self.classes = nn.Linear(6, 4), nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {
            "loss_box": self.boxes(x * x).mean(),
            "loss_class": F.cross_entropy(self.classes(x), labels),
        }


@pytest.mark.parametrize("accumulate", [1, 2])
def test_loss_terms_that_a_model_returns_are_told_and_blamed(accumulate: int) -> None:
    torch.manual_seed(0)
    model = Detector()
    optimizer = sgd(model)

    def run() -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        for factor in (1.0, 1e4):
            for _ in range(accumulate):
                with half():
                    loss = sum(model(X * factor, LABELS).values()) / accumulate
                scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    taken, skipped = watched(model, run).steps
    assert taken.losses.keys() == {"loss", "loss_box", "loss_class"}
    assert taken.losses["loss"] == pytest.approx(
        taken.losses["loss_box"] + taken.losses["loss_class"], rel=1e-3
    )
    assert skipped.culprit is not None
    assert skipped.culprit.loss_term == "loss_box"


def test_forward_passes_without_a_backward_pass_keep_nothing_alive() -> None:
    model, alive = Detector(), list[weakref.ref[Tensor]]()

    def run() -> None:
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=64.0)
        for _ in range(5):
            x = X.clone()
            alive.append(weakref.ref(x))
            scaler.scale(sum(model(x, LABELS).values()))
        del x
        assert not any(each() is not None for each in alive)
        with half():
            loss = sum(sum(model(X, LABELS).values()) for _ in range(2))
        scaler.scale(loss).backward()
        scaler.step(optimizer)

    (step,) = watched(model, run).steps
    assert step.losses["loss"] == pytest.approx(
        2 * (step.losses["loss_box"] + step.losses["loss_class"]), rel=1e-3
    )


class Twofold(nn.Linear):
    """Two losses of the same features, which are widened for both at once or for each."""

    def forward(self, x: Tensor, at_once: bool) -> dict[str, Tensor]:
        features = super().forward(x)
        features = features.float() if at_once else features
        return {"loss_sum": features.float().sum(), "loss_norm": 1e-6 * features.norm()}


@pytest.mark.parametrize(("at_once", "term"), [(False, "loss_sum"), (True, None)])
def test_the_only_loss_term_whose_backward_pass_meets_the_overflow_is_blamed(
    at_once: bool, term: str | None
) -> None:
    model = Twofold(6, 4)

    def run() -> None:
        with half():
            loss = sum(model(X, at_once).values())
        torch.amp.GradScaler("cpu", init_scale=2.0**24).scale(loss).backward()
        sgd(model).step()

    (step,) = watched(model, run).steps
    assert step.culprit is not None
    assert (step.culprit.direction, step.culprit.operation) == ("backward", "cast")
    assert step.culprit.loss_term == term


def test_a_part_that_the_loop_calls_itself_is_given_the_batch() -> None:
    parts = nn.ModuleDict({"trunk": nn.Linear(6, 4), "head": nn.Linear(4, 3)})
    optimizer = sgd(parts)

    def run(x: Tensor, factor: float) -> None:
        with half():
            loss = F.cross_entropy(parts["head"](parts["trunk"](x) * factor), LABELS)
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale(loss).backward()
        scaler.step(optimizer)

    bad = X.clone()
    bad[3, 0] = torch.inf
    (step,) = watched(parts, lambda: run(X, 1e6)).steps
    assert step.culprit is not None
    assert (step.culprit.direction, step.culprit.operation) == ("forward", "mul")
    (step,) = watched(parts, lambda: run(bad, 1.0)).steps
    assert step.culprit is not None
    assert (step.culprit.where, step.culprit.operation) == ("input[0]", "batch")
    assert step.culprit.bad_samples == ("3",)


def test_a_skipped_step_moves_no_weight_but_batch_statistics_as_on_a_gpu() -> None:
    model = net()
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    scaler = lambda: torch.amp.GradScaler("cpu", init_scale=2.0**30)  # noqa: E731
    (step,) = watched(model, lambda: loop(model, scaler(), steps=1)).steps
    assert step.skipped
    assert all(map(torch.equal, weights, model.parameters()))
    assert model[1].num_batches_tracked == 1
