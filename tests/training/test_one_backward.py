"""Forward and backward of a batch stand in one place: nothing else calls ``backward``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import halftrack

ROOT = Path(halftrack.__file__).parents[1]
ONE_PLACE = "halftrack/training/learner.py: Learner.gradients"
OTHERS = {
    # The culprit's run of a skipped step, again.
    "halftrack/precision/rerun.py": 1,
    # Steps of any model, in its user's own code.
    "halftrack/precision/traced_pass.py: TracedPass._backward": 1,
    "halftrack/rehearsing/trained_step.py: TrainedSteps": 1,
    "halftrack/rehearsing/islands.py: islands_of_step.learns": 1,
    "halftrack/rehearsing/planned.py: _metered": 1,
    "halftrack/rehearsing/scalers.py: loop_told_to": 1,
    "benchmarks/any_model.py: slower": 1,
    # Models of torchvision, which no recipe is made of.
    "benchmarks/launches.py: by_default.step": 1,
    "benchmarks/measure.py: calibration_training.step": 1,
    "benchmarks/rehearsal.py: resnet_step.step": 2,
}


def calls(path: Path) -> Iterator[str]:
    """File and function of every call of something named ``backward``."""

    def walk(node: ast.AST, place: tuple[str, ...]) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            place = (*place, node.name)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "backward":
            yield f"{path.relative_to(ROOT)}: {'.'.join(place)}"
        for child in ast.iter_child_nodes(node):
            yield from walk(child, place)

    yield from walk(ast.parse(path.read_text()), ())


def test_one_place_makes_gradients_of_a_recipes_losses() -> None:
    files = [*ROOT.glob("halftrack/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    found = [call for file in files for call in calls(file)]
    assert found.count(ONE_PLACE) == 1
    others = [call for call in found if call != ONE_PLACE]
    for place, count in OTHERS.items():
        assert sum(call.startswith(place) for call in others) == count, place
    assert [call for call in others if not call.startswith(tuple(OTHERS))] == []
