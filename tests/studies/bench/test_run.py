"""Each task's steps and inference are timed by part, and the parts are all of the time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from halftrack.recipes import load_recipe
from halftrack.studies.bench import run
from halftrack.studies.bench.result import Spread

STEP = ["data", "forward", "backward", "optimizer", "all"]
PARTS = {
    "selsa_tiny_sample": ["backbone", "neck", "rpn_head", "roi_head"],
    "faster-rcnn_tiny_sample": ["backbone", "neck", "rpn_head", "roi_head"],
    "reid_tiny_sample": ["backbone", "head"],
    "siamese_rpn_tiny_sample": ["backbone", "neck", "head"],
}


def total(parts: dict[str, Spread], place: int) -> float:
    return sum(spread.seconds[place] for name, spread in parts.items() if name != "all")


@pytest.mark.parametrize("name", PARTS)
def test_parts_add_up_to_steps_and_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FILM_SIZE", (192, 320))
    told: list[tuple[int, int | None]] = []
    recipe = load_recipe(name).for_training()
    found = run.bench(recipe, rounds=2, progress=lambda done, of: told.append((done, of)))
    assert list(found.training) == STEP
    assert list(found.inference) == [*PARTS[name], "between the layers", "all"]
    assert told == [(done, 6) for done in range(1, 7)]
    assert found.samples >= recipe.training.accumulate
    assert found.frames >= 1
    for parts in (found.training, found.inference):
        for place in range(2):
            whole = parts["all"].seconds[place]
            assert all(spread.seconds[place] >= 0 for spread in parts.values())
            assert total(dict(parts), place) <= whole * (1 + 1e-9)
    calls = dict(found.inference)
    assert math.isclose(total(calls, 0), calls["all"].seconds[0])


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.head = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.head[0](self.body(x))


def test_a_module_within_another_is_not_counted_twice() -> None:
    """The clock counts its own readings: two for each part that is called."""
    readings = iter(range(100))
    model = Nested()
    with run._parts_timed(model, lambda: float(next(readings))) as seconds:
        model(torch.ones(1, 2))
    assert seconds == {"body": 1.0, "head": 1.0}
    assert next(readings) == 4
    assert not any(module._forward_hooks for module in model.modules())
