"""A skipped step is explained in the ledger, kept for replay, and changes nothing of the run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from halftrack.precision import Culprit, NonFiniteGradientError, Precision
from halftrack.precision.nonfinite import NonFiniteTrace
from halftrack.training import learner, read_checkpoint
from halftrack.training.files.bundle import read_bundle
from halftrack.training.skipped import SkippedSteps, explain

FP16 = Precision("fp16", "dynamic")


def records(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def large(tiny: ModuleType) -> torch.nn.Module:
    """Overflows at the scales a run starts with, and at none of the scales it comes down to."""

    class Large(tiny.TinyModel):
        def forward(self, batch: object) -> dict[str, Tensor]:
            losses = super().forward(batch)
            return losses | {"loss_fit": losses["loss_fit"] * 16.0}

    return Large()


def test_every_skip_of_a_run_is_in_the_ledger_with_its_cause(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, result = tiny.run(tmp_path, model=large(tiny), precision=FP16)
    skips = [row for row in records(tmp_path) if row.get("skipped") is True]
    assert len(skips) == result.skipped > 1
    told = capfd.readouterr().err
    terms = set()
    for row in skips:
        culprit = Culprit.from_dict(row["culprit"])
        assert (culprit.direction, culprit.kind) == ("backward", "overflow")
        assert culprit.loss_scale == row["loss_scale"]
        assert set(culprit.sample_ids) <= set(row["sample_ids"])
        assert f"skipped so far): {culprit}" in told
        terms.add(culprit.loss_term)
    # Near the scale that fits it takes both terms together.
    assert terms == {"loss_fit", None}


def test_a_run_with_its_skips_explained_equals_one_without(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.run(tmp_path / "explained", model=large(tiny), precision=FP16)
    monkeypatch.setattr(SkippedSteps, "explain", lambda *_, **__: None)
    tiny.run(tmp_path / "plain", model=large(tiny), precision=FP16)
    ends = [read_checkpoint(tmp_path / name / "step_8.pth") for name in ("explained", "plain")]
    for part in ("schedule", "loss_scale", "position"):
        assert ends[0][part] == ends[1][part]
    assert ends[0]["position"]["skipped"] > 1
    assert ends[0]["position"]["skipped"] < 8
    for part in ("state_dict", "average"):
        one, other = (end[part].get("average", end[part]) for end in ends)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_step_is_run_again_to_the_last_bit(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped: list[list[Tensor]] = []
    again: list[list[Tensor]] = []
    step, origin = learner.optimizer_step, NonFiniteTrace.origin

    def watched_step(optimizers: list[torch.optim.Optimizer], *args: object, **how: object):
        parameters = [p for group in optimizers[0].param_groups for p in group["params"]]
        stepped.append([p.grad.clone() for p in parameters])
        return step(optimizers, *args, **how)

    def watched_origin(trace: NonFiniteTrace, tensors: list[Tensor]):
        again.append([tensor.clone() for tensor in tensors])
        return origin(trace, tensors)

    monkeypatch.setattr(learner, "optimizer_step", watched_step)
    monkeypatch.setattr(NonFiniteTrace, "origin", watched_origin)
    # The second of the step's two batches is at fault: gradients add up on those of the first.
    source = tiny.TinySource(2, poisoned=(0, 1))
    config = dataclasses.replace(tiny.SHORT, epochs=1)
    tiny.run(tmp_path, config, batches=source, precision=Precision("fp16", 8.0))
    assert len(stepped) == 1
    for one, other in zip(stepped[0], again[0], strict=False):
        assert torch.equal(one.nan_to_num(nan=7.0), other.nan_to_num(nan=7.0))


def test_a_skip_is_explained_from_the_batch_at_fault_of_its_step(
    tiny: ModuleType, tmp_path: Path
) -> None:
    source = tiny.TinySource(4, poisoned=(0, 3))
    config = dataclasses.replace(tiny.SHORT, epochs=1)
    tiny.run(tmp_path, config, batches=source, precision=Precision("fp16", 8.0))
    (row,) = [row for row in records(tmp_path) if row.get("skipped") is True]
    culprit = Culprit.from_dict(row["culprit"])
    assert (culprit.where, culprit.operation, culprit.kind) == ("x", "batch", "infinity")
    assert culprit.bad_samples == ("3/0/3",)
    assert row["sample_ids"] == ["3/0/2", "3/0/3"]


def test_an_entry_named_loss_is_explained_with_those_it_is_trained_with(tiny: ModuleType) -> None:
    class Two(tiny.TinyModel):
        def forward(self, batch: object) -> dict[str, Tensor]:
            fit, size, _ = super().forward(batch).values()
            return {"loss": fit, "loss_aux": size * torch.inf}

    (first,) = tiny.TinySource(1).batches(seed=0, epoch=0)
    found = explain(
        Two().train(), [first], [0], precision=FP16, loss_scale=1.0, device=torch.device("cpu")
    )
    assert found is not None
    assert (found.operation, found.loss_term) == ("mul", "loss")


@pytest.mark.parametrize("precision", [Precision(), Precision("bf16"), Precision("fp16", 1.0)])
def test_a_run_that_ends_at_a_gradient_says_why(
    tiny: ModuleType, tmp_path: Path, precision: Precision
) -> None:
    source = tiny.TinySource(4, poisoned=(0, 2))
    with pytest.raises(NonFiniteGradientError) as stopped:
        tiny.run(tmp_path, batches=source, precision=precision)
    (note,) = stopped.value.__notes__
    bundle = tmp_path / "skipped/step_2"
    assert note == f"batch x of 3/0/2 held an infinity; see it again: halftrack replay {bundle}"
    last = records(tmp_path)[-1]
    assert (last["mode"], last["step"], last["epoch"]) == ("stop", 2, 1)
    assert last["culprit"]["where"] == "x"
    assert last["sample_ids"] == ["3/0/2", "3/0/3"]


def test_a_run_that_ends_at_a_target_without_area_blames_the_data_alone(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty_targets(batch: object) -> tuple[str, ...]:
        return batch.sample_ids if batch.x.isinf().any() else ()

    monkeypatch.setattr(tiny.TinyBatch, "faulty_targets", faulty_targets, raising=False)
    with pytest.raises(NonFiniteGradientError, match=r"step 2.* the target of 3/0/2") as stopped:
        tiny.run(tmp_path, batches=tiny.TinySource(4, poisoned=(0, 2)), precision=Precision())
    assert "learning rate" not in str(stopped.value)
    assert records(tmp_path)[-1]["culprit"]["operation"] == "target"


def replayed(tiny: ModuleType, folder: Path) -> tuple[Culprit | None, Culprit | None]:
    bundle = read_bundle(folder, lambda _: [tiny.TinyBatch])
    model = large(tiny).train()
    model.load_state_dict(bundle.weights)
    found = explain(
        model,
        bundle.batches,
        bundle.seeds,
        precision=bundle.precision,
        loss_scale=bundle.loss_scale,
        device=torch.device("cpu"),
    )
    return bundle.culprit, found


def test_every_bundle_of_a_run_replays_to_the_culprit_recorded(
    tiny: ModuleType, tmp_path: Path
) -> None:
    config = dataclasses.replace(tiny.SHORT, replay_bundles=9)
    _, result = tiny.run(tmp_path, config, model=large(tiny), precision=FP16)
    folders = sorted((tmp_path / "skipped").iterdir())
    assert len(folders) == result.skipped
    for folder in folders:
        recorded, found = replayed(tiny, folder)
        assert recorded is not None
        assert found is not None
        assert found.to_dict() == recorded.to_dict()


@pytest.mark.parametrize(("limit", "kept"), [(0, []), (1, ["step_1"]), (2, ["step_1", "step_2"])])
def test_only_the_first_skips_are_kept(
    tiny: ModuleType, tmp_path: Path, limit: int, kept: list[str]
) -> None:
    config = dataclasses.replace(tiny.SHORT, replay_bundles=limit)
    _, result = tiny.run(tmp_path, config, model=large(tiny), precision=FP16)
    assert result.skipped > 2
    assert sorted(path.name for path in tmp_path.glob("skipped/*")) == kept


def test_the_step_that_ends_a_run_is_kept_beyond_the_limit(
    tiny: ModuleType, tmp_path: Path
) -> None:
    class Twice(tiny.TinySource):
        def batches(self, **where: object):
            for batch in super().batches(**where):
                yield dataclasses.replace(batch, x=batch.x * torch.inf)

    config = dataclasses.replace(tiny.SHORT, epochs=9)
    model = large(tiny)
    with pytest.raises(NonFiniteGradientError, match="can go no lower"):
        tiny.run(tmp_path, config, model=model, batches=Twice(), precision=FP16)
    assert sorted(path.name for path in tmp_path.glob("skipped/*")) == ["step_1", "step_17"]


def test_a_batch_that_cannot_be_kept_is_said_and_stops_no_run(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Odd(tiny.TinyBatch):
        extra: object = dataclasses.field(default_factory=set)

        def to(self, device: object) -> Odd:
            return self

    class OddSource(tiny.TinySource):
        def batches(self, **where: object):
            for batch in super().batches(**where):
                yield Odd(batch.x, batch.sample_ids)

    _, result = tiny.run(tmp_path, model=large(tiny), batches=OddSource(), precision=FP16)
    assert result.steps == 8
    told = " ".join(capfd.readouterr().err.split())
    assert "no replay bundle: batches.0.extra is a set" in told
    assert not list(tmp_path.glob("skipped/*"))


def test_the_command_of_a_replay_can_be_copied_whatever_the_folders_name(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run; no 1"
    tiny.run(out, model=large(tiny), precision=FP16)
    assert f"halftrack replay '{out}/skipped/step_1'" in capfd.readouterr().err


def test_a_new_run_forgets_the_bundles_of_an_earlier_one(tiny: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "skipped/step_99").mkdir(parents=True)
    tiny.run(tmp_path)
    assert not (tmp_path / "skipped").exists()
