"""Any model is rehearsed with its user's own step: habits of other people's code, one a test."""

from __future__ import annotations

import json
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from halftrack.errors import UserError
from halftrack.precision import Culprit, Precision
from halftrack.precision.sites import OUTERMOST
from halftrack.precision.traced_pass import TracedPass, first_culprit
from halftrack.rehearsing import Report, rehearse
from halftrack.rehearsing.page import page

FEATURES, CLASSES = 6, 3


class Net(nn.Module):
    """Two layers with a norm between; ``factor`` makes the first one overflow."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(FEATURES, 16), nn.BatchNorm1d(16)
        self.head = nn.Linear(16, CLASSES)
        with torch.no_grad():
            self.first.weight.mul_(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x)).relu())


def net(factor: float = 1.0) -> Net:
    torch.manual_seed(0)
    return Net(factor)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, FEATURES, generator=generator)
    return x, torch.arange(8) % CLASSES


def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, labels = batch
    return F.cross_entropy(model(x), labels)


def rehearsed(model: nn.Module, step: Any = step, batches: Any = None, **how: Any) -> Report:
    optimizer = how.pop("optimizer", None) or sgd(model)
    how = {"steps": 3, "memory": False} | how
    return rehearse(
        step, [batch()] if batches is None else batches, model=model, optimizer=optimizer, **how
    )


def test_a_clean_model_survives_and_all_questions_are_answered() -> None:
    report = rehearsed(net(), steps=4, every=2, memory=True)
    assert [each.skipped for each in report.steps].count(False) >= 3
    assert report.must_change == ()
    assert report.advice is not None
    assert report.advice.safe is not None
    assert [each.precision for each in report.memory] == ["fp32", "bf16", "fp16"]
    told = str(report)
    for words in ("What overflows", "Why was a step", "Which modules", "How much memory"):
        assert words in told
    assert "It survived 4 steps: nothing must change." in told


def test_it_computes_what_training_computes() -> None:
    model, (x, labels) = net(), batch()
    precision = Precision("fp16", 128.0)
    with precision.autocast("cpu"):
        expected = F.cross_entropy(net()(x), labels)
    report = rehearsed(model, precision=precision, steps=2)
    assert report.steps[0].losses == {"loss": expected.item()}
    assert report.steps[1].losses["loss"] < report.steps[0].losses["loss"]


def test_an_overflow_forward_is_named_once_and_an_island_mends_it() -> None:
    model = net(1e6)
    report = rehearsed(model, steps=2)
    assert {culprit.where for culprit in report.culprits} == {"first"}
    assert {culprit.direction for culprit in report.culprits} == {"forward"}
    assert report.islands().keep_fp32 == ("first",)
    assert "Precision(\"fp16\", keep_fp32=('first',)).keep_in_fp32(model)" in report.must_change
    kept = rehearsed(model, steps=1, precision=Precision("fp16", 1.0, ("first",)))
    assert kept.must_change == ()
    assert type(model.first) is nn.Linear


class Steep(Net):
    """Its head's gradient overflows at a scale of more than 64."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2.0**10


def test_an_overflow_backward_is_named_and_the_step_fits_at_the_scale_told() -> None:
    torch.manual_seed(0)
    model = Steep()
    report = rehearsed(model, steps=1, precision=Precision("fp16", 2.0**16))
    (culprit,) = report.culprits
    assert culprit.direction == "backward"
    assert culprit.fits_at is not None
    at_it = rehearsed(model, steps=1, precision=Precision("fp16", culprit.fits_at))
    above = rehearsed(model, steps=1, precision=Precision("fp16", culprit.fits_at * 2))
    assert not at_it.steps[0].skipped
    assert above.steps[0].skipped


def test_a_skipped_step_is_not_run_again() -> None:
    calls: list[int] = []

    def counted(model: nn.Module, batch: Any) -> Tensor:
        calls.append(1)
        return step(model, batch)

    report = rehearsed(net(1e6), counted, steps=3)
    assert len(report.culprits) == 3
    assert len(calls) == 3


@dataclass
class Fields:
    x: Tensor
    labels: Tensor


class Output(OrderedDict):
    """A mapping with attributes, as the outputs of transformers are."""

    @property
    def loss(self) -> Any:
        return self["loss"]


X, LABELS = batch()
STEPS: dict[str, tuple[Any, Callable[[nn.Module, Any], Any]]] = {
    "a tensor": (X, lambda model, x: model(x).square().mean()),
    "a tuple": ((X, LABELS), step),
    "a list": ([X, LABELS], step),
    "a dict": ({"x": X, "y": LABELS}, lambda m, b: {"loss": step(m, (b["x"], b["y"]))}),
    "a user dict": (UserDict(x=X, y=LABELS), lambda m, b: step(m, (b["x"], b["y"]))),
    "a dataclass": (Fields(X, LABELS), lambda m, b: step(m, (b.x, b.labels))),
    "dicts": (
        [{"x": x, "y": y} for x, y in zip(X, LABELS, strict=True)],
        lambda m, b: step(m, (torch.stack([e["x"] for e in b]), torch.stack([e["y"] for e in b]))),
    ),
    "an output with .loss": (
        (X, LABELS),
        lambda m, b: Output(loss=step(m, b), logits=torch.zeros(2)),
    ),
    "a dict of losses": (
        (X, LABELS),
        lambda m, b: {"loss_a": step(m, b), "loss_b": step(m, b) * 0.5, "accuracy": 0.3},
    ),
}


@pytest.mark.parametrize("kind", STEPS)
def test_batches_and_losses_of_any_type(kind: str) -> None:
    one, of_it = STEPS[kind]
    clean, broken = (rehearsed(net(f), of_it, [one], steps=1) for f in (1.0, 1e6))
    assert "loss" in clean.steps[0].losses
    assert broken.culprits[0].where == "first"
    assert broken.culprits[0].sample_ids == tuple("01234567")


def test_a_dict_of_losses_is_summed_and_the_culprits_term_is_named() -> None:
    def two(model: Net, batch: Any) -> dict[str, Tensor]:
        return {"plain": step(model, batch), "steep": model.head.weight.half().sum() * 1e5}

    report = rehearsed(net(), two, steps=1, precision=Precision("fp16", 1.0))
    terms = report.steps[0].losses
    assert terms["loss"] == terms["plain"] + terms["steep"]
    assert report.culprits[0].loss_term == "steep"


@pytest.mark.parametrize("again", [True, False], ids=["a loader", "a generator"])
def test_few_batches_are_repeated(again: bool) -> None:
    def twice() -> Iterator[Any]:
        yield batch(0)
        yield batch(1)

    x, labels = (torch.cat(both) for both in zip(batch(0), batch(1), strict=True))
    loader = DataLoader(TensorDataset(x, labels), batch_size=8)
    seen: list[Tensor] = []

    def kept(model: nn.Module, batch: Any) -> Tensor:
        seen.append(batch[0])
        return step(model, batch)

    report = rehearsed(net(), kept, loader if again else twice(), steps=5)
    assert len(report.steps) == 5
    assert [torch.equal(each, seen[0]) for each in seen] == [True, False, True, False, True]


def test_accumulated_batches_make_one_step_on_their_mean() -> None:
    alone = [rehearsed(net(), batches=[batch(seed)], steps=1) for seed in (0, 1)]
    report = rehearsed(net(), batches=[batch(0), batch(1)], steps=1, accumulate=2)
    mean = sum(each.steps[0].losses["loss"] for each in alone) / 2
    assert report.steps[0].losses["loss"] == pytest.approx(mean, rel=1e-6)


def test_of_accumulated_batches_those_at_fault_alone_skip_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty: list[Any] = []

    def watched(
        passes: list[TracedPass], otherwise: Callable[[], Culprit | None]
    ) -> Culprit | None:
        faulty.append([each.batch for each in passes])
        return first_culprit(passes, otherwise)

    monkeypatch.setattr("halftrack.rehearsing.trained_step.first_culprit", watched)
    x, labels = batch(0)
    bad = (x * 1e6, labels)
    batches = [batch(1), bad, batch(2)]
    report = rehearsed(net(), batches=batches, steps=1, accumulate=3)
    assert report.steps[0].skipped
    ((told,),) = faulty
    assert told is bad


def test_several_optimizers_step_together_or_not_at_all() -> None:
    model = net(1e6)
    optimizers = [torch.optim.AdamW(model.head.parameters()), sgd(model.first)]
    weights: list[Tensor] = []

    def kept(model: Net, batch: Any) -> Tensor:
        weights.append(model.head.weight.detach().clone())
        return step(model, batch)

    report = rehearsed(model, kept, optimizer=optimizers, steps=2)
    assert all(each.skipped for each in report.steps)
    assert torch.equal(*weights)
    assert not any(each.state for each in optimizers)


def test_parameters_that_no_optimizer_has_skip_no_step() -> None:
    model = net()
    model.register_parameter("unused", nn.Parameter(torch.ones(())))

    def with_unused(model: Any, batch: Any) -> Tensor:
        return step(model, batch) + 0.0 * (model.unused * torch.tensor(torch.inf)).nan_to_num()

    report = rehearsed(model, with_unused, optimizer=sgd(model.head), steps=1, precision="bf16")
    assert not report.steps[0].skipped


def test_a_loss_that_raises_on_nan_is_explained_and_its_exception_is_kept() -> None:
    def matched(model: nn.Module, batch: Any) -> Tensor:
        loss = step(model, batch)
        if not loss.isfinite():
            raise ValueError("matrix contains invalid numeric entries")
        return loss

    report = rehearsed(net(1e6), matched)
    assert isinstance(report.error, ValueError)
    assert len(report.steps) == 1
    (culprit,) = report.culprits
    assert (culprit.where, culprit.direction) == ("first", "forward")
    assert "the loss then raised ValueError: matrix contains invalid" in str(report)
    assert report.must_change


def test_another_exception_is_the_users_and_the_model_is_put_back() -> None:
    model = net()
    before = model.first.weight.detach().clone()

    def fails(model: nn.Module, batch: Any) -> Tensor:
        if not torch.equal(model.first.weight, before):  # type: ignore[union-attr, arg-type]
            raise KeyError("labels")
        return step(model, batch)

    with pytest.raises(KeyError, match="labels"):
        rehearsed(model, fails, precision=Precision("fp16", 1.0))
    assert torch.equal(model.first.weight, before)


def test_a_step_that_computes_nothing_in_half_is_told() -> None:
    def off(model: nn.Module, batch: Any) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return step(model, batch)

    report = rehearsed(net(), off)
    assert any("no op was computed in half" in change for change in report.must_change)


def test_bf16_needs_no_loss_scale_and_ends_at_the_first_nan() -> None:
    clean = rehearsed(net(), precision="bf16")
    assert [each.loss_scale for each in clean.steps] == [1.0] * 3
    x, labels = batch()
    bad = rehearsed(net(), batches=[(x * torch.nan, labels)], precision="bf16")
    assert len(bad.steps) == 1
    assert bad.culprits[0].operation == "batch"
    assert bad.stopped is not None


def test_tf32_is_rehearsed_without_ranges() -> None:
    report = rehearsed(net(), precision="tf32", steps=1)
    assert not report.sampled
    assert "tf32 has the range of fp32" in str(report)


class Checkpointed(Net):
    """The first layer's activations are computed again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            checkpoint(lambda x: self.norm(self.first(x)).relu(), x, use_reentrant=False)
        )


class Penalised(Net):
    """A gradient penalty: its loss holds a gradient that has a gradient itself."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        made = super().forward(x)
        (slope,) = torch.autograd.grad(made.float().sum(), x, create_graph=True)
        return made + slope.square().mean()


class Amplified(torch.autograd.Function):
    """The identity, with a gradient that half does not hold."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2.0**60


class AmplifyingLayer(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return Amplified.apply(super().forward(x))


class Reentrant(Net):
    """A middle whose forward and backward pass both run within the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = AmplifyingLayer(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.middle, self.first(x), use_reentrant=True).relu())


def test_a_gradient_within_a_reentrant_checkpoint_is_named() -> None:
    torch.manual_seed(0)
    (culprit,) = rehearsed(Reentrant(), steps=1).culprits
    assert (culprit.where, culprit.direction) == ("middle", "backward")


class Graph(Net):
    """A network on a graph, whose sparse matrix a GPU multiplies in fp32 alone."""

    def __init__(self, factor: float = 1.0, layout: torch.layout = torch.sparse_coo) -> None:
        super().__init__(factor)
        self.register_buffer("edges", torch.eye(8).roll(1, 0).to_sparse(layout=layout))

    def forward(self, x: Tensor) -> Tensor:
        made = self.first(x)
        with torch.autocast("cuda", enabled=False):
            joined = torch.sparse.mm(self.edges, made.float())
        return self.head(self.norm(joined).relu())


class Compressed(Graph):
    """The same with a matrix of another layout, and products at its edges alone."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(factor, torch.sparse_csr)

    def forward(self, x: Tensor) -> Tensor:
        made = self.norm(self.first(x)).float()
        weights = torch.sparse.sampled_addmm(self.edges, made, made.T, beta=0.0)
        return self.head(made.relu()) + weights.to_dense().mean()


@pytest.mark.filterwarnings("ignore:Sparse (CSR|invariant)")
@pytest.mark.parametrize("kind", [Checkpointed, Penalised, Graph, Compressed])
def test_graphs_of_other_kinds_are_rehearsed(kind: type[Net]) -> None:
    torch.manual_seed(0)
    assert rehearsed(kind()).must_change == ()
    broken = rehearsed(kind(1e6), steps=1)
    assert broken.culprits[0].where == "first"


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_a_scripted_part_is_rehearsed_and_what_it_computes_is_its_callers() -> None:
    model = net(1e6)
    model.first = torch.jit.script(model.first)
    report = rehearsed(model, steps=1)
    culprit = report.culprits[0]
    assert (culprit.where, culprit.direction, culprit.kind) == (OUTERMOST, "forward", "overflow")


def test_a_compiled_model_is_rehearsed_as_it_is_written() -> None:
    model = torch.compile(net(1e6), backend="eager")
    report = rehearsed(model, steps=1)
    assert report.culprits[0].where == "_orig_mod.first"


def test_sequence_models_and_attention_are_rehearsed() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = torch.randn(4, 5, 8)
    report = rehearsed(model, lambda model, x: model(x).square().mean(), [x])
    assert report.must_change == ()


def test_ctrl_c_ends_it_with_what_there_is() -> None:
    calls: list[int] = []

    def interrupted(model: nn.Module, batch: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(model, batch)

    report = rehearsed(net(), interrupted, steps=9, memory=True)
    assert report.interrupted
    assert len(report.steps) == 2
    for told in (str(report), page(report)):
        assert "nded early, after 2 of 9 steps" in told
        assert "Not known: the rehearsal was ended early." in told


def test_ctrl_c_in_the_first_step_leaves_a_report_that_claims_nothing() -> None:
    def interrupted(model: nn.Module, batch: Any) -> Tensor:
        if not calls:
            calls.append(1)
            raise KeyboardInterrupt
        return step(model, batch)

    calls: list[int] = []
    report = rehearsed(net(1e6), interrupted)
    for told in (str(report), page(report)):
        assert "nded early, after 0 of 3 steps" in told
        assert "survived" not in told
        assert "No step was attempted." in told
    assert report.islands().keep_fp32 == ("first",)


def test_without_a_batch_no_islands_are_searched() -> None:
    def batches() -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    report = rehearsed(net(), batches=batches())
    with pytest.raises(UserError, match="ended before the first batch"):
        report.islands()


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    rehearsed(net(), steps=2, progress=lambda *way: told.append(way))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"steps": 0}, "steps=0: expected at least 1"),
        ({"every": 0}, "every=0: expected at least 1"),
        ({"accumulate": 0}, "accumulate=0: expected at least 1"),
        ({"precision": "fp32"}, "'fp32' has nothing to rehearse"),
        ({"precision": "half"}, "'half' is not one of"),
        ({"batches": []}, "batches: there is none"),
        ({"step": lambda model, batch: model(batch[0])}, r"the loss has the shape \(8, 3\)"),
        ({"step": lambda model, batch: step(model, batch).detach()}, "has no gradient"),
        ({"step": lambda model, batch: None}, "returned a NoneType"),
    ],
)
def test_mistakes_say_what_is_allowed(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rehearsed(net(), **how)


def test_lazy_modules_are_run_first() -> None:
    model = nn.LazyLinear(3)
    with pytest.raises(UserError, match="weight of LazyLinear has no shape yet"):
        rehearse(step, [batch()], model=model, optimizer=sgd(nn.Linear(1, 1)))


def test_page_and_numbers_are_saved(tmp_path: Path) -> None:
    report = rehearsed(net(1e6), steps=1)
    report.save(tmp_path / "new/page.html")
    text = (tmp_path / "new/page.html").read_text(encoding="utf-8")
    assert "Rehearsal of Net" in text
    assert "All numbers: page.json beside this page" in text
    numbers = json.loads((tmp_path / "new/page.json").read_text(), parse_constant=pytest.fail)
    assert numbers["steps"][0]["culprit"]["where"] == "first"
    assert numbers["must_change"] == list(report.must_change)
