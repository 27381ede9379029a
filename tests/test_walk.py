"""The walk of one fp16 SELSA training step stays short: at most 12 files and 2,500 code lines."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import halftrack
from halftrack.data.vid.clips import TrainingClips
from halftrack.recipes import load_recipe, train
from halftrack.synthetic import SyntheticVideo, write_synthetic

PACKAGE = Path(halftrack.__file__).parent
# The rehearsal, with the types it widens, runs on a CPU alone.
_STAND_INS = ("rehearsal", "tensor_cores", "as_cuda", "dtypes")
REHEARSAL = tuple(f"precision/{name}.py" for name in _STAND_INS)
LEFT_OUT = ("data/", "layers/", *REHEARSAL)


def code_lines(path: Path, *, within: ast.stmt | None = None) -> int:
    """Lines of a file, or of one of its statements, that hold code: no comments or docstrings."""
    tree = ast.parse(path.read_text())
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if is_text and isinstance(statement.value.value, str):
                docstrings |= set(range(statement.lineno, statement.end_lineno + 1))
    first, last = (within.lineno, within.end_lineno) if within else (1, None)
    lines = enumerate(path.read_text().splitlines()[first - 1 : last], start=first)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in lines
    )


def test_an_fp16_step_walks_through_few_files_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    films = SyntheticVideo(train_videos=1, val_videos=1, frames=8)
    data_root = write_synthetic(tmp_path / "data", films)
    visited: set[str] = set()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            visited.add(frame.f_code.co_filename)

    original = TrainingClips.batches

    def watched(self: TrainingClips, **how: Any) -> Iterator[Any]:
        for number, clip in enumerate(original(self, **how)):
            if number == 2:
                sys.setprofile(watch)
            yield clip
            sys.setprofile(None)

    monkeypatch.setattr(TrainingClips, "batches", watched)
    recipe = load_recipe("selsa_tiny_sample").with_precision("fp16")
    training = dataclasses.replace(recipe.training, epochs=1, workers=0, log_every=1)
    try:
        train(
            dataclasses.replace(recipe, training=training),
            data_root=data_root,
            out=tmp_path / "run",
        )
    finally:
        sys.setprofile(None)
    ours = {
        str(Path(name).relative_to(PACKAGE)) for name in visited if PACKAGE in Path(name).parents
    }
    walked = {name: code_lines(PACKAGE / name) for name in ours if not name.startswith(LEFT_OUT)}
    walk = ("training/loop.py", "training/learner.py", "models/selsa.py", "precision/step.py")
    assert set(walk) <= set(walked)
    # Explaining a skipped step costs a step that is taken nothing.
    explaining = {f"precision/{name}.py" for name in ("culprit", "nonfinite", "rerun", "sites")}
    assert not (explaining | {"training/skipped.py", "training/files/bundle.py"}) & set(walked)
    assert len(walked) <= 12, walked
    assert sum(walked.values()) <= 2500, walked


def test_the_loop_is_one_function_that_is_read_from_top_to_bottom() -> None:
    path = PACKAGE / "training/loop.py"
    loops = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "train"
    ]
    assert [code_lines(path, within=loop) <= 60 for loop in loops] == [True]
