"""A pickle that runs code is refused in the place of every file that is read, and has not run."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from published import RunsCode
from torch import nn

import halftrack
from halftrack.data.index_cache import cached_index
from halftrack.data.mot.pickled import PickledDetections
from halftrack.data.parsed_video import assemble_index
from halftrack.errors import UserError
from halftrack.interop import open_recipe_file
from halftrack.interop.checkpoints.export import recipe_of
from halftrack.interop.checkpoints.publish import publish
from halftrack.interop.checkpoints.resume import read_continuation
from halftrack.interop.configs.files import read_config
from halftrack.interop.logs.read import read_training_log
from halftrack.pickles import read_arrays
from halftrack.training import load_weights, read_checkpoint
from halftrack.training.files.bundle import read_bundle, seal_bundle

Write = Callable[[Path, RunsCode], None]


def pickled(path: Path, evil: RunsCode) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {"a": evil}, "meta": evil, "det_bboxes": evil}))


def archived(path: Path, evil: RunsCode) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": {"hidden": evil}}, path)


def older(path: Path, evil: RunsCode) -> None:
    state = {"state_dict": {"a": torch.ones(1)}, "meta": {"hidden": evil}}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def in_an_array(path: Path, evil: RunsCode) -> None:
    with path.open("wb") as file:
        np.savez(file, boxes_xyxy=np.array([evil], dtype=object))


def bundle(path: Path, evil: RunsCode) -> None:
    path.mkdir()
    (path / "bundle.json").write_text('{"recipe": {}, "precision": {}}')
    pickled(path / "tensors.safetensors", evil)
    seal_bundle(path)


def fill(path: Path) -> None:
    load_weights(nn.Linear(1, 1), path)


FILES: dict[str, tuple[str, Write, Callable[[Path], object]]] = {
    "checkpoint": ("a.pth", archived, read_checkpoint),
    "older checkpoint": ("a.pth", older, read_checkpoint),
    "weights (--init)": ("a.pth", archived, fill),
    "backbone of detectron2": ("R-50.pkl", pickled, fill),
    "safetensors by name": ("a.safetensors", pickled, read_checkpoint),
    "checkpoint to go on from": ("epoch_2.pth", archived, read_continuation),
    "checkpoint to publish": ("best.pth", archived, publish),
    "checkpoint to export": ("best.pth", older, recipe_of),
    "public detections": ("half-val_detections.pkl", pickled, PickledDetections),
    "arrays": ("a.pkl", pickled, read_arrays),
    "replay bundle": ("step_3", bundle, lambda path: read_bundle(path, lambda _: ())),
    "config": ("mine.py", pickled, read_config),
    "recipe": ("my_recipe.py", pickled, open_recipe_file),
    "log": ("run.log.json", pickled, read_training_log),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_pickle_that_runs_code_is_refused(kind: str, tmp_path: Path) -> None:
    name, write, read = FILES[kind]
    write(tmp_path / name, RunsCode(tmp_path / "ran"))
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        read(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_cached_index_with_code_in_it_is_built_again(tmp_path: Path) -> None:
    def build() -> halftrack.data.VideoIndex:  # type: ignore[name-defined]
        return assemble_index([], image_root=tmp_path, classes=(("a", ""),))

    def read() -> int:
        return cached_index(key={}, fingerprint="f", build=build, folder=tmp_path).num_videos

    assert read() == 0
    (file,) = tmp_path.glob("index-*.npz")
    in_an_array(file, RunsCode(tmp_path / "ran"))
    assert read() == 0
    assert not (tmp_path / "ran").exists()


def test_no_other_module_unpickles() -> None:
    package = Path(halftrack.__file__).parent
    reads = re.compile(
        r"(?<!`)torch\.load\(|np\.load\(|pickle\.loads?\(|Unpickler\(|torch\.jit\.load\("
    )
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if reads.search(path.read_text(encoding="utf-8"))
    }
    # Workers unpickle what this very run has sent them.
    own = {"data/workers.py"}
    assert found - own == {"pickles.py", "training/files/checkpoint.py", "data/index_cache.py"}
