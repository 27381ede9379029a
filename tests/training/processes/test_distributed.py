"""Several processes learn what one would from the same batches, step by step, in all that moves."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from processes import in_processes
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.layers import one_thread
from halftrack.precision import Culprit, Precision
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import TrainingConfig, read_checkpoint, skipped, train
from halftrack.training.config import Phase
from halftrack.training.files import run_files
from halftrack.training.files.checkpoint import write_checkpoint
from halftrack.training.ranks import together

CPU = torch.device("cpu")
FP16 = Precision("fp16", "dynamic")
TIMES = {"time", "data_time", "data_share", "samples_per_second", "memory", "computes", "versions"}


def records(out: Path, mode: str = "train") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows if row["mode"] == mode]


def shared(
    tiny: ModuleType, out: Path, config: TrainingConfig, *, processes: int = 2, **given: Any
) -> tuple[list[dict[str, Tensor]], list[Any]]:
    """The states and results that each process ends with."""

    def run() -> tuple[dict[str, Tensor], Any]:
        with together(CPU) as ranks:
            model, result = tiny.run(out, config, ranks=ranks, **given)
            return model.state_dict(), result

    states, results = zip(*in_processes(processes, run), strict=True)
    return list(states), list(results)


def assert_close(states: list[dict[str, Tensor]], alone: dict[str, Tensor]) -> None:
    for state in states:
        for name, wanted in alone.items():
            apart = (state[name].double() - wanted.double()).norm()
            bound = 1e-5 if "running" in name else 1e-6
            assert apart <= bound * wanted.double().norm(), name
        assert all(torch.equal(state[name], states[0][name]) for name in alone)


def assert_same_log(out: Path, alone: Path) -> None:
    for mode in ("train", "val", "stop"):
        rows, wanted = records(out, mode), records(alone, mode)
        assert len(rows) == len(wanted)
        for row, other in zip(rows, wanted, strict=True):
            row.pop("culprits", None)
            numbers = {k: v for k, v in other.items() if isinstance(v, float)}
            assert {k: row[k] for k in numbers} == pytest.approx(numbers, rel=1e-5, abs=1e-5)
            assert {k: row[k] for k in other if k not in numbers} == {
                k: v for k, v in other.items() if k not in numbers
            }


class Cut:
    """A source of so many batches; the order of those that there are wraps around."""

    def __init__(self, source: Any, length: int) -> None:
        self._source, self._length = source, length

    def __len__(self) -> int:
        return self._length

    def batches(self, **where: Any) -> Iterator[Any]:
        return self._source.batches(**where)


@pytest.fixture(scope="module")
def data_roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    settings = SyntheticVideo(train_videos=4, val_videos=1, frames=8)
    return {
        layout: write_synthetic(
            tmp_path_factory.mktemp(layout), dataclasses.replace(settings, layout=layout)
        )
        for layout in ("vid", "mot", "sot")
    }


MODELS = ("selsa", "faster-rcnn", "reid", "siamese_rpn")


@pytest.mark.parametrize(
    ("name", "processes", "steps", "shard"),
    [
        *((name, 2, 2, shard) for name in ("faster-rcnn", "reid") for shard in ("none", "full")),
        *(
            pytest.param(name, processes, 50, shard, marks=pytest.mark.slow)
            for name in MODELS
            # Four processes that shard are held to the last bit, in fewer steps, below.
            for processes, shard in ((2, "none"), (4, "none"), (2, "full"))
        ),
    ],
)
def test_a_trained_model_of_several_processes_equals_one_that_accumulates(
    data_roots: dict[str, Path], tmp_path: Path, name: str, processes: int, steps: int, shard: str
) -> None:
    fields = (f"training.accumulate={processes}", "training.epochs=1", f"training.shard={shard}")
    recipe = tiny_recipe(name, *fields)
    assert_equal_steps(recipe, data_roots, tmp_path, processes=processes, steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shard", ["optimizer", "full"])
def test_a_sharded_trained_model_moves_bit_for_bit(
    data_roots: dict[str, Path], tmp_path: Path, name: str, processes: int, shard: str
) -> None:
    fields = (f"training.accumulate={processes}", "training.epochs=1", f"training.shard={shard}")
    assert_equal_steps(
        tiny_recipe(name, *fields), data_roots, tmp_path, processes=processes, steps=5
    )
    shared, alone = (read_checkpoint(tmp_path / n / "step_5.pth") for n in ("shared", "alone"))
    weights = {k: v for k, v in alone["state_dict"].items() if "running" not in k}
    assert all(torch.equal(shared["state_dict"][k], v) for k, v in weights.items())
    momenta, wanted = (state["optimizer"]["state"] for state in (shared, alone))
    assert momenta.keys() == wanted.keys()
    assert all(torch.equal(momenta[i][k], v) for i in wanted for k, v in wanted[i].items())


FROZEN = "model.backbone.frozen_bn=True"
SHARDED = "training.shard=optimizer"
FULLY = "training.shard=full"
HALF = ("precision.name=fp16", "precision.loss_scale=dynamic")
THAWED_LATER = (
    Phase(first_epoch=0, trainable=("neck.*", "head.*")),
    Phase(first_epoch=1, trainable=("*",), batch_statistics=("backbone.*",)),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "settings"),
    [
        ("selsa", ("training.accumulate=4", "training.clips_per_pass=2", FROZEN), {}),
        ("selsa", (FROZEN, "model.backbone.recompute=(2, 3)"), {}),
        ("faster-rcnn", (), {"lr_factors": (("backbone.*", 0.1),), "ema_decay": 0.9}),
        ("siamese_rpn", (SHARDED,), {"phases": THAWED_LATER, "epochs": 2, "ema_decay": 0.9}),
        ("siamese_rpn", (), {"phases": THAWED_LATER, "epochs": 2}),
        ("reid", HALF, {}),
        ("selsa", ("training.accumulate=4", "training.clips_per_pass=2", FROZEN, FULLY), {}),
        ("selsa", (FROZEN, "model.backbone.recompute=(2, 3)", *HALF, FULLY), {}),
        ("faster-rcnn", (FULLY,), {"lr_factors": (("backbone.*", 0.1),), "ema_decay": 0.9}),
        ("siamese_rpn", (*HALF, FULLY), {"phases": THAWED_LATER, "epochs": 2, "ema_decay": 0.9}),
        ("reid", (*HALF, FULLY), {}),
    ],
)
def test_whatever_a_recipe_asks_for_is_the_same_in_several_processes(
    data_roots: dict[str, Path],
    tmp_path: Path,
    name: str,
    fields: tuple[str, ...],
    settings: dict[str, Any],
) -> None:
    recipe = tiny_recipe(name, "training.accumulate=2", "training.epochs=1", *fields)
    training = dataclasses.replace(recipe.training, **settings)
    recipe = dataclasses.replace(recipe, training=training)
    assert_equal_steps(recipe, data_roots, tmp_path, processes=2, steps=6)


def tiny_recipe(name: str, *fields: str) -> TrainedRecipe:
    every = ("training.log_every=1", "training.workers=0", "training.checkpoint_every=None")
    return override(load_recipe(f"{name}_tiny_sample").for_training(), [*every, *fields])


def assert_equal_steps(
    recipe: TrainedRecipe, data_roots: dict[str, Path], out: Path, *, processes: int, steps: int
) -> None:
    data_root = data_roots[recipe.synthetic_layout]
    recipe = recipe.settled(data_root)

    def learned(name: str) -> dict[str, Tensor]:
        source = Cut(recipe.training_source(data_root), recipe.training.accumulate * steps)
        model = recipe.build_model(seed=1)
        with together(CPU) as ranks, one_thread():
            train(
                model=model,
                batches=source,
                config=recipe.training,
                precision=recipe.precision,
                out=out / name,
                device=CPU,
                ranks=ranks,
            )
        return model.state_dict()

    alone = learned("alone")
    assert_close(in_processes(processes, lambda: learned("shared")), alone)
    assert len(records(out / "alone")) >= steps * recipe.training.epochs
    assert_same_log(out / "shared", out / "alone")
    newest = f"step_{steps * recipe.training.epochs}.pth"
    average, wanted = (read_checkpoint(out / n / newest)["average"] for n in ("shared", "alone"))
    assert_close([average["average"]], wanted["average"])


class Phased(nn.Module):
    """A backbone that thaws, and a head that learns from some batches only."""

    def __init__(self, tiny: ModuleType) -> None:
        super().__init__()
        self.inner = tiny.TinyModel()
        self.seldom = nn.Linear(4, 1, device="cpu")
        self.never = nn.Linear(4, 1, device="cpu")
        nn.init.constant_(self.seldom.weight, 0.5)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        losses = self.inner(batch)
        if batch.x[0, 0] > 0:
            losses["loss_fit"] = losses["loss_fit"] + self.seldom(batch.x).square().mean()
        return losses


@pytest.mark.parametrize(
    ("processes", "each", "shard"),
    [(2, 1, "none"), (2, 3, "none"), (3, 1, "optimizer"), (2, 3, "full"), (3, 1, "full")],
)
def test_processes_equal_one_that_accumulates(
    tiny: ModuleType, tmp_path: Path, processes: int, each: int, shard: str
) -> None:
    config = dataclasses.replace(tiny.SHORT, accumulate=processes * each, shard=shard)
    with one_thread():
        model, result = tiny.run(tmp_path / "alone", config)
    states, results = shared(tiny, tmp_path / "shared", config, processes=processes)
    assert_close(states, model.state_dict())
    if each == 1:  # the order of a sum of sums is another
        weights = dict(model.named_parameters())
        assert all(torch.equal(states[0][name], value) for name, value in weights.items())
    assert_same_log(tmp_path / "shared", tmp_path / "alone")
    assert [each.steps for each in results] == [result.steps] * processes
    assert results[0].metrics == results[-1].metrics == pytest.approx(result.metrics, rel=1e-6)
    kept = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == kept
    best, wanted = (read_checkpoint(tmp_path / o / "best.pth") for o in ("shared", "alone"))
    assert_close([best["state_dict"]], wanted["state_dict"])


@pytest.mark.parametrize("shard", ["none", "full"])
def test_parameters_without_a_gradient_hold_nobody_up_and_phases_thaw(
    tiny: ModuleType, tmp_path: Path, shard: str
) -> None:
    phases = (
        Phase(first_epoch=0, trainable=("inner.head.*", "seldom.*", "never.*")),
        Phase(first_epoch=1, trainable=("*",), batch_statistics=()),
    )
    config = dataclasses.replace(
        tiny.SHORT,
        accumulate=2,
        phases=phases,
        lr_factors=(("inner.backbone.*", 0.5),),
        shard=shard,
    )
    torch.manual_seed(1)
    never = Phased(tiny).state_dict()
    alone = Phased(tiny)
    alone.load_state_dict(never)
    tiny.run(tmp_path / "alone", config, model=alone)
    model = Phased(tiny)
    model.load_state_dict(never)
    states, _ = shared(tiny, tmp_path / "shared", config, model=model)
    assert_close(states, alone.state_dict())
    assert torch.equal(states[0]["never.weight"], never["never.weight"])
    assert not torch.equal(states[0]["seldom.weight"], never["seldom.weight"])


@pytest.mark.parametrize("shard", ["none", "optimizer", "full"])
def test_an_overflow_in_one_process_skips_the_step_in_all_and_is_named(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], shard: str
) -> None:
    precision = Precision("fp16", 1024.0)
    config = dataclasses.replace(tiny.SHORT, accumulate=2, log_every=1, shard=shard)
    given = {"precision": precision, "batches": tiny.TinySource(poisoned=(0, 3))}
    model, result = tiny.run(tmp_path / "alone", config, **given)
    capfd.readouterr()
    states, results = shared(tiny, tmp_path / "shared", config, **given)
    assert [each.skipped for each in results] == [1, 1] == [result.skipped] * 2
    assert_close(states, model.state_dict())
    assert_same_log(tmp_path / "shared", tmp_path / "alone")
    (skip,) = (row for row in records(tmp_path / "shared") if row["skipped"] is True)
    assert skip["step"] == 2
    assert skip["sample_ids"] == ["3/0/2", "3/0/3"]
    (found,) = skip["culprits"]
    assert (found["rank"], found["sample_ids"]) == (1, ["3/0/3"])
    assert Culprit.from_dict(skip["culprit"]).operation == "batch"
    assert "skipped so far): rank 1: batch x" in capfd.readouterr().err
    assert [path.name for path in tmp_path.glob("shared/skipped/*")] == ["step_2"]


@pytest.mark.parametrize("shard", ["none", "full"])
@pytest.mark.parametrize(("wire", "value", "skips"), [("fp16", 300.0, 1), ("bf16", 300.0, 0)])
def test_a_gradient_that_overflows_on_its_way_skips_the_step(
    tiny: ModuleType, tmp_path: Path, wire: str, value: float, skips: int, shard: str
) -> None:
    class Steep(tiny.TinyModel):
        def forward(self, batch: Any) -> dict[str, Tensor]:
            steep = value if batch.sample_ids == ("3/0/1",) else 1.0
            return {name: loss * steep for name, loss in super().forward(batch).items()}

    # Computed in fp32, scaled as fp16 is: only what travels is narrow.
    config = dataclasses.replace(
        tiny.SHORT, accumulate=2, epochs=1, gradient_compression=wire, shard=shard
    )
    precision = Precision("fp16", 1024.0, keep_fp32=("backbone", "norm", "head"))
    states, results = shared(tiny, tmp_path, config, model=Steep(), precision=precision)
    assert [each.skipped for each in results] == [skips, skips]
    assert all(bool(value.isfinite().all()) for value in states[0].values())


@pytest.mark.parametrize(
    ("first", "then"), [("optimizer", "none"), ("full", "optimizer"), ("none", "full")]
)
def test_a_shared_run_is_resumed_by_another_number_of_processes(
    tiny: ModuleType, tmp_path: Path, first: str, then: str
) -> None:
    config = dataclasses.replace(tiny.SHORT, accumulate=6, log_every=2, shard=first)
    source = tiny.TinySource(24)
    model, _ = tiny.run(tmp_path / "alone", config, batches=source)

    class Stopping(tiny.TinySource):
        def batches(self, **where: Any) -> Iterator[Any]:
            for number, batch in enumerate(super().batches(**where)):
                if number == 5 and where["epoch"] == 0 and 4 in where["places"]:
                    signal.raise_signal(signal.SIGTERM)  # to one of them: the others must follow
                yield batch

    _, results = shared(tiny, tmp_path / "shared", config, processes=3, batches=Stopping(24))
    assert [each.interrupted for each in results] == [signal.SIGTERM] * 3
    assert {each.steps for each in results} == {3}
    config = dataclasses.replace(config, shard=then)
    states, _ = shared(tiny, tmp_path / "shared", config, processes=2, batches=source, resume=True)
    assert_close(states, model.state_dict())
    assert_same_log(tmp_path / "shared", tmp_path / "alone")


def test_the_first_processs_clock_decides_for_all_when_to_save(
    tiny: ModuleType, tmp_path: Path
) -> None:
    often = {"checkpoint_every": None, "checkpoint_minutes": 1e-9, "keep_checkpoints": 9}
    config = dataclasses.replace(tiny.SHORT, accumulate=2, epochs=1, **often)
    _, results = shared(tiny, tmp_path, config)
    assert sorted(path.name for path in tmp_path.glob("step_*")) == [
        f"step_{step}.pth" for step in range(1, 5)
    ]
    assert {each.checkpoint for each in results} == {tmp_path / "step_4.pth"}


def endings(tiny: ModuleType, out: Path, **given: Any) -> list[tuple[str, str]]:
    """The error, by its type and words, that each of two processes ends with."""

    def run() -> tuple[str, str]:
        try:
            with together(CPU) as ranks:
                tiny.run(out, dataclasses.replace(tiny.SHORT, accumulate=2), ranks=ranks, **given)
        except Exception as error:
            return type(error).__name__, str(error)
        return "none", ""

    return in_processes(2, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("step_8.pth", "the weights of the last step, 8, could"),
        ("best.pth", "the best weights, of"),
    ],
)
def test_weights_that_the_first_process_cannot_save_end_all_alike(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, message: str
) -> None:
    def write(path: Path, state: Any) -> None:
        if path.name == refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_checkpoint(path, state)

    monkeypatch.setattr(run_files, "write_checkpoint", write)
    first, second = endings(tiny, tmp_path)
    assert first == second
    assert first[0] == "UnsavedWeightsError"
    assert message in first[1]


@pytest.mark.slow
@pytest.mark.parametrize("writer", [run_files, skipped])
def test_a_folder_that_is_another_runs_by_now_ends_all_processes_alike(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: ModuleType
) -> None:
    class Steep(tiny.TinyModel):
        def forward(self, batch: Any) -> dict[str, Tensor]:
            return {name: loss * 2.0**20 for name, loss in super().forward(batch).items()}

    def taken(folder: Path) -> None:
        if os.environ["RANK"] == "0":  # the only one that owns it
            raise UserError(f"{folder} is in use by process 7")

    monkeypatch.setattr(writer, "keep_folder", taken)
    ends = endings(tiny, tmp_path, model=Steep(), precision=FP16)
    assert ends == [("UserError", f"{tmp_path} is in use by process 7")] * 2


@pytest.mark.parametrize("shard", ["none", "full"])
def test_synced_norms_are_alike_in_all_processes(
    tiny: ModuleType, tmp_path: Path, shard: str
) -> None:
    config = dataclasses.replace(tiny.SHORT, accumulate=2, sync_batch_norm=True, shard=shard)
    first, second = shared(tiny, tmp_path, config)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)
    model, _ = tiny.run(tmp_path / "alone", config)
    assert not torch.allclose(first["norm.running_var"], model.norm.running_var, rtol=0.01)


def test_a_step_that_cannot_be_shared_evenly_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    def refused() -> str:
        with together(CPU) as ranks, pytest.raises(UserError) as error:
            tiny.run(tmp_path, dataclasses.replace(tiny.SHORT, accumulate=3), ranks=ranks)
        return str(error.value)

    wanted = r"training.accumulate=3: 2 processes cannot share it evenly; .* training.accumulate=4"
    for told in in_processes(2, refused):
        assert pytest.raises(UserError, match=wanted), told
