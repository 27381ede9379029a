"""Each task's steps and inference are timed by part, and the parts are all of the time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.frames import Clip, ClipBatch
from halftrack.recipes import load_recipe, override
from halftrack.studies.bench import run
from halftrack.training.config import Phase

STEP = ["data", "forward", "backward", "optimizer", "all"]
PARTS = {
    "selsa_tiny_sample": ["backbone", "neck", "rpn_head", "roi_head"],
    "faster-rcnn_tiny_sample": ["backbone", "neck", "rpn_head", "roi_head"],
    "reid_tiny_sample": ["backbone", "head"],
    "siamese_rpn_tiny_sample": ["backbone", "neck", "head"],
}


@pytest.mark.parametrize("name", PARTS)
def test_steps_and_calls_are_timed_by_their_parts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FILM_SIZE", (192, 320))
    told: list[tuple[int, int | None]] = []
    recipe = load_recipe(name).for_training()
    found = run.bench(recipe, rounds=2, progress=lambda done, of: told.append((done, of)))
    assert list(found.training) == STEP
    assert list(found.inference) == [*PARTS[name], "between the layers", "all"]
    assert told == [(done, 6) for done in range(1, 7)]
    assert found.samples >= recipe.training.accumulate
    assert found.frames >= 1
    assert all(len(spread.seconds) == 2 for spread in found.training.values())
    assert found.references == (4 if name.startswith("selsa") else 0)
    assert (found.epoch, found.skipped) == (0, 0)


def test_the_last_phase_that_begins_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FILM_SIZE", (192, 320))
    recipe = load_recipe("reid_tiny_sample").for_training()
    phases = tuple(Phase(first_epoch=epoch, trainable=("head.*",)) for epoch in (0, 1, 9))
    training = replace(recipe.training, epochs=3, milestones=(), phases=phases)
    assert run.bench(replace(recipe, training=training), rounds=1).epoch == 1


def test_a_rehearsal_is_not_compiled() -> None:
    recipe = load_recipe("siamese_rpn_tiny_sample").with_precision("bf16")
    recipe = override(recipe, ["training.compile=default"]).for_training()
    with pytest.raises(UserError, match="a rehearsal must see every op"):
        run.bench(recipe)


def counting() -> Callable[[], float]:
    """A clock that counts its own readings."""
    readings = itertools.count()
    return lambda: float(next(readings))


@pytest.mark.parametrize("passes", [1, 3])
def test_a_step_s_parts_are_timed_between_readings_of_the_clock(passes: int) -> None:
    model = nn.Linear(2, 2)
    report = SimpleNamespace(skipped=True)
    learner = SimpleNamespace(
        model=model, gradients=lambda batch, seed: model(batch), step=lambda: report
    )
    step = [(torch.ones(1, 2), 0)] * passes
    seconds, taken, told = run._step(learner, iter([step]), counting())
    assert seconds == {
        "data": 1,
        "forward": passes,
        "backward": passes,
        "optimizer": 1,
        "all": 4 + 3 * passes,
    }
    assert taken is step
    assert told is report
    assert not model._forward_hooks


def test_a_call_s_parts_and_what_is_between_them_are_all_of_it() -> None:
    model = Nested()
    seconds = run._call(model, lambda: model(torch.ones(1, 2)), counting())
    assert seconds == {"body": 1, "head": 1, "between the layers": 3, "all": 5}


def test_a_clip_s_references_come_again_until_there_are_those_of_a_test() -> None:
    clip, started = Clip(key=0, references=(1, 2)), []
    model = SimpleNamespace(start=started.extend, detect=lambda frame: frame)
    call, frames = run._inference(model, ClipBatch(clips=(clip,), seeds=(0,)), 5)
    assert started == [1, 2, 1, 2, 1]
    assert (call(), frames) == (0, 1)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.head = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.head[0](self.body(x))


def test_a_module_within_another_is_not_counted_twice() -> None:
    """Two readings of the clock for each part that is called."""
    model, clock = Nested(), counting()
    with run._parts_timed(model, clock) as seconds:
        model(torch.ones(1, 2))
    assert seconds == {"body": 1.0, "head": 1.0}
    assert clock() == 4
    assert not any(module._forward_hooks for module in model.modules())
