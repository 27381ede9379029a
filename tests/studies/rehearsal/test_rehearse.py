"""A rehearsal is the beginning of the run, finds what overflows, and says what to do about it."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from halftrack.frames import batches_of
from halftrack.models.reid import ReID
from halftrack.precision import RangeMeter
from halftrack.recipes import RECIPES, TrainedRecipe, load_recipe, override, train
from halftrack.recipes.kinds import trained
from halftrack.rehearsing import measured
from halftrack.rehearsing.answers import answers, must_change
from halftrack.rehearsing.page import page, write_page
from halftrack.rehearsing.rows import module_rows
from halftrack.studies.rehearsal import rehearse as rehearse_module
from halftrack.studies.rehearsal import rehearsed_run
from halftrack.studies.rehearsal.rehearsable import rehearsable
from halftrack.studies.rehearsal.rehearse import rehearse
from halftrack.synthetic import SYNTHETIC_CLASSES, SyntheticVideo, write_synthetic
from halftrack.training import learner
from halftrack.training.files.log_file import read_log

TINY = "reid_tiny_sample"
PLANTED = "backbone.layer2.0.conv1"
FEW = ("data.min_crops=2", "data.max_crops=4", "data.identities_per_batch=3")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    films = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=8)
    return write_synthetic(tmp_path_factory.mktemp("films"), films)


@pytest.fixture
def rehearsed(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A rehearsal on few films, its memory not predicted."""
    meter = SimpleNamespace(peak=2**30, peak_by_kind={"activations": 2**30}, peak_by_module={})
    monkeypatch.setattr(rehearse_module, "predicted_step", lambda *_, **__: meter)
    monkeypatch.setattr(rehearse_module, "island_cost", lambda *_, **__: 2**20)
    quiet = {"data_root": films, "out": tmp_path, "init": "none", "say": lambda _: None}
    return lambda recipe, **how: rehearse(recipe, **{**quiet, **how})


def tiny(*fields: str) -> TrainedRecipe:
    """In fp16 at loss scale 128, which is safe at first."""
    recipe = rehearsable(load_recipe(TINY))
    return override(recipe, [*FEW, "data.crops_per_identity=2", *fields])


def weights(recipe: TrainedRecipe, films: Path, file: Path, **factors: float) -> str:
    """A file of random weights, those of some modules multiplied."""
    model = recipe.settled(films).build_model()
    with torch.no_grad():
        for path, factor in factors.items():
            model.get_parameter(f"{path}.weight").mul_(factor)
    torch.save({"state_dict": model.state_dict()}, file)
    return str(file)


def planted(recipe: TrainedRecipe, films: Path, out: Path) -> str:
    """Weights with which one convolution overflows in fp16; in fp32 the norm after it mends it."""
    return weights(recipe, films, out / "planted.pth", **{PLANTED: 2.0**16})


class Words(HTMLParser):
    """The text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_rehearsal_is_the_beginning_of_the_run(rehearsed, films: Path, tmp_path: Path) -> None:
    fields = ("training.epochs=1", "training.log_every=1", "training.workers=0")
    recipe = tiny("precision.loss_scale=128.0", *fields)
    found = rehearsed(recipe, steps=3, every=2)
    train(recipe, data_root=films, out=tmp_path / "run", device="cpu")
    log = [row for row in read_log(tmp_path / "run/log.jsonl") if row.get("mode") == "train"]
    assert len(log) >= 3
    for row, step in zip(log, found.steps, strict=False):
        # The log adds the terms up anew.
        assert step.losses["loss"] == pytest.approx(row["loss"], rel=1e-6)
        assert (step.grad_norm, step.loss_scale) == (row["grad_norm"], row["loss_scale"])
    told = set(found.steps[0].losses)
    assert set(found.trained_terms) == {name for name in told if name.startswith("loss")} < told


def test_a_clean_rehearsal_answers_all_four_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "SYNTHETIC_VIDEOS", 2)
    done: list[tuple[int, int]] = []
    found = rehearse(
        tiny("precision.loss_scale=128.0", "model.num_identities=9"),
        data_root=None,
        out=tmp_path,
        steps=3,
        every=2,
        say=lambda _: None,
        progress=lambda *way: done.append(way),
    )
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert found.sampled == (1, 3)
    assert not found.skipped
    assert must_change(found) == ()
    ranges, skips, islands, memory = answers(found)
    assert "nothing overflows" in ranges.words
    assert "128, is within" in ranges.words
    assert "None of 3 steps was skipped" in skips.words
    assert "None, as far as 3 steps can tell" in islands.words
    assert "in fp32" in memory.words
    assert [step.precision for step in found.memory] == ["fp32", "bf16", "fp16"]
    assert found.advice is not None
    assert found.advice.safe is not None
    assert any("random weights" in line for line in found.notes)
    rows = module_rows(found)
    assert {row["module"] for row in rows} >= {PLANTED, "head.fcs.0.fc"}
    assert {row["what to do"] for row in rows} == {"-"}


def test_tf32_is_rehearsed_without_ranges_or_islands(rehearsed, tmp_path: Path) -> None:
    recipe = tiny().with_precision("tf32")
    found = rehearsed(recipe, steps=2)
    assert [step.skipped for step in found.steps] == [False, False]
    assert (
        found.steps[0].losses != rehearsed(recipe.with_precision("bf16"), steps=1).steps[0].losses
    )
    assert not found.sampled
    assert must_change(found) == ()
    ranges, _, islands, memory = answers(found)
    assert "tf32 has the range of fp32" in ranges.words
    assert islands.words.startswith("None")
    assert "in tf32" in memory.words
    assert "Ranges" not in page(found)
    with pytest.raises(ValueError, match="tf32 has fp32's range and needs none"):
        rehearse(recipe, data_root=None, out=tmp_path, islands=True)


def test_islands_are_searched_in_passes_as_training_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = SyntheticVideo(layout="vid", train_videos=1, val_videos=1, frames=8)
    data_root = write_synthetic(tmp_path / "data", films)
    fields = ["training.accumulate=6", "training.clips_per_pass=3", "data.resize_on=device"]
    recipe = rehearsable(override(load_recipe("selsa_tiny_sample"), fields))
    run = rehearsed_run.RehearsedRun(recipe, data_root, tmp_path, seed=0, every=1)
    run._bare, run._learner = nn.Identity(), SimpleNamespace(model=nn.Identity())
    searched = []
    monkeypatch.setattr(
        rehearsed_run, "islands_of", lambda _, batches, **how: searched.extend(batches)
    )
    run.islands(1.0)
    assert [batches_of(batch) for batch in searched] == [3, 3]
    assert len({batch.sample_ids for batch in searched}) == 2
    assert all(frame.resize_to is None for batch in searched for frame in batch.frames)


def test_a_planted_overflow_is_found_and_islands_mend_it(
    rehearsed, films: Path, tmp_path: Path
) -> None:
    recipe = tiny("precision.loss_scale=128.0")
    init = planted(recipe, films, tmp_path)
    found = rehearsed(recipe, steps=2, islands=True, init=init)
    assert all(step.skipped for step in found.steps)
    assert found.advice is None
    ranges, skips, islands, _ = answers(found)
    assert PLANTED in ranges.words
    assert f"keep {PLANTED} in fp32" in skips.words
    assert found.fp32_islands is not None
    assert found.fp32_islands.keep_fp32 == (PLANTED,)
    change = f"--set precision.keep_fp32=\"('{PLANTED}',)\""
    assert islands.changes == (change,)
    (row,) = (row for row in module_rows(found) if row["module"] == PLANTED)
    assert row["what to do"] == "keep in fp32: overflows forward"
    told = Words(write_page(found, tmp_path / "page")).text
    assert change in told
    assert "Something must change" in told
    numbers = json.loads((tmp_path / "page/rehearsal.json").read_text())
    assert numbers["islands"]["keep_fp32"] == [PLANTED]
    assert numbers["steps"][0]["culprit"]["where"] == PLANTED

    mended = override(recipe, [f"precision.keep_fp32=('{PLANTED}',)"])
    assert must_change(rehearsed(mended, steps=1, init=init)) == ()


def test_a_dynamic_scale_may_come_down_and_a_static_one_may_not(
    rehearsed, films: Path, tmp_path: Path
) -> None:
    recipe = tiny()
    # Logits so large that gradients overflow at 65536 and fit a few octaves below.
    init = weights(recipe, films, tmp_path / "w.pth", **{"head.classifier": 2.0**3})
    found = rehearsed(recipe, steps=7, init=init)
    first = next(n for n, step in enumerate(found.steps, start=1) if not step.skipped)
    assert first > 1
    assert found.sampled == tuple(range(1, first + 1))
    assert "came down from 65536, as it is meant to" in answers(found)[1].words
    assert must_change(found) == ()
    static = override(recipe, ["precision.loss_scale=65536.0"])
    found = rehearsed(static, steps=1, init=init)
    fits = found.steps[0].culprit.fits_at
    assert must_change(found) == (f"--set precision.loss_scale={fits}",)


def test_a_loss_that_is_not_finite_is_named_though_the_step_is_taken(
    rehearsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ReID.forward

    def overflowing(self, batch):
        losses = forward(self, batch)
        return losses | {"loss_extra": (sum(losses.values()).detach() + 1e6).half()}

    monkeypatch.setattr(ReID, "forward", overflowing)
    (step,) = rehearsed(tiny("precision.loss_scale=128.0"), steps=1).steps
    assert step.taken_blindly
    assert step.culprit is not None
    assert (step.culprit.operation, step.culprit.loss_term) == ("cast", "loss_extra")


def test_a_step_that_no_scale_can_mend_ends_it_with_the_reason(
    rehearsed, films: Path, tmp_path: Path
) -> None:
    recipe = tiny("precision.loss_scale=1.0")
    found = rehearsed(recipe, steps=3, init=planted(recipe, films, tmp_path))
    assert len(found.steps) == 1
    assert found.stopped is not None
    assert "can go no lower" in found.stopped
    assert any("can go no lower" in change for change in must_change(found))
    assert "could not go on" in Words(write_page(found, tmp_path)).text


def test_ctrl_c_ends_it_with_what_there_is(
    rehearsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, taken = learner.optimizer_step, []

    def interrupted(*args: object, **how: object):
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(1)
        return step(*args, **how)

    monkeypatch.setattr(learner, "optimizer_step", interrupted)
    found = rehearsed(tiny("precision.loss_scale=128.0"), steps=9, islands=True)
    assert found.interrupted
    assert found.fp32_islands is None
    assert len(found.steps) == 2
    assert "2 of 9 steps" in Words(write_page(found, tmp_path)).text


def test_unmeasured_steps_have_no_meter(rehearsed, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RangeMeter] = []

    class Counted(RangeMeter):
        def __init__(self, *args: object, **how: object) -> None:
            made.append(self)
            super().__init__(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(measured, "RangeMeter", Counted)
    rehearsed(tiny("precision.loss_scale=128.0"), steps=3, every=9)
    assert len(made) == 1


def test_accumulated_batches_make_one_step(rehearsed) -> None:
    recipe = tiny("precision.loss_scale=128.0", "training.accumulate=2")
    found = rehearsed(recipe, steps=2)
    assert len(found.steps) == 2
    assert all(step.accumulates for step in found.memory)


def test_every_recipe_that_is_trained_reads_synthetic_video(tmp_path: Path) -> None:
    roots: dict[type[TrainedRecipe], Path] = {}
    for name in RECIPES:
        recipe = load_recipe(name)
        if not isinstance(recipe, TrainedRecipe):
            continue
        sample = recipe.reading_synthetic()
        assert dataclasses.replace(sample, data=recipe.data) == recipe  # the model is its own
        kind = type(recipe)
        roots.setdefault(kind, recipe.write_synthetic(tmp_path / "data", seed=0))
        source = sample.training_source(roots[kind])
        assert len(source) > 0, name
    vid = load_recipe("selsa_faster_rcnn_r50_dc5_1x_imagenetvid").reading_synthetic()
    assert vid.data.classes == SYNTHETIC_CLASSES
    assert vid.model.roi_head.num_classes == 30
    assert vid.data.image_scale == (1000, 600)


def test_frozen_norms_without_weights_take_statistics() -> None:
    recipe = load_recipe("selsa_tiny_sample")
    recipe = override(recipe, ["model.backbone.frozen_bn=True", "model.backbone.frozen_stages=1"])
    model = recipe.build_model().train()
    batch = recipe.planned_batch(objects=2)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    count = rehearsed_run._take_statistics(model, batch)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert count == len(norms) > 0
    assert not any(norm.training for norm in norms)
    assert all(norm.momentum == 0.1 for norm in norms)
    name = "detector.backbone.bn1.running_var"
    assert not torch.equal(dict(model.named_buffers())[name], before[name])


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("tracktor_tiny_sample", None, "tracktor_tiny_sample has no training step"),
        (TINY, "fp32", "'fp32' has nothing to rehearse"),
        (TINY, "half", "'half' is not one of fp32, tf32, bf16, fp16"),
    ],
)
def test_what_cannot_be_rehearsed_is_said(name: str, precision: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rehearsable(load_recipe(name), precision)


def test_half_is_chosen_where_the_recipe_has_none() -> None:
    assert rehearsable(load_recipe(TINY)).precision.loss_scale == "dynamic"
    published = rehearsable(load_recipe("selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid"))
    assert published.precision.loss_scale == 512.0
    assert rehearsable(load_recipe(TINY), "bf16").precision.name == "bf16"


@pytest.mark.parametrize(
    ("how", "field", "message"),
    [
        ({"steps": 0}, "training.epochs=1", "steps=0: expected at least 1"),
        ({"every": 0}, "training.epochs=1", "every=0: expected at least 1"),
        ({}, "precision.loss_scale=1000.0", "is not a power of two, e.g. 512.0"),
        ({}, "training.compile=default", "compile='default': fp16 is rehearsed on a CPU, and a"),
    ],
)
def test_mistakes_are_told_before_anything_is_filmed(
    tmp_path: Path, how: dict[str, int], field: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rehearse(tiny(field), data_root=None, out=tmp_path, **how)
    assert not (tmp_path / "data").exists()


def test_synthetic_video_needs_a_model_that_tells_its_classes_apart() -> None:
    recipe = override(load_recipe("selsa_tiny_sample"), ["model.roi_head.num_classes=3"])
    with pytest.raises(ValueError, match="num_classes=3: synthetic video has 4 classes"):
        recipe.reading_synthetic()


def test_a_long_rehearsal_says_after_its_first_step_how_to_shorten_it(
    rehearsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse_module, "_PATIENCE", 0.0)
    said: list[str] = []
    rehearsed(tiny(), steps=2, say=said.append)
    (line,) = (line for line in said if "took" in line)
    assert line.startswith("the first step took ")
    assert "so 2 may take " in line
    assert "--samples" in line
