"""Readers of MMTracking's configs, and mutated configs for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fuzzing import ODD_TEXT, ODD_VALUES, Reader, mutated_bytes, mutated_tree
from hypothesis import strategies as st
from mmtracking_configs import NAMES, texts, write_configs

from halftrack.interop import import_config

__all__ = ["READERS"]

METHODS = (
    "selsa_faster_rcnn_r50_dc5_1x_imagenetvid",
    "faster-rcnn_r50_fpn_4e_mot17-half",
    "resnet50_b32x8_MOT17",
    "tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half_search",
    "siamese_rpn_r50_20e_lasot",
)
TOKENS = (
    *(b"dict(", b")", b"[", b"]", b"**", b"*", b"=", b",", b"'", b'"', b"\n", b"\\", b"_base_ = "),
    *(b"_delete_=True", b"None", b"lambda: ", b"__import__('os')", b".__class__", b"9**9**9"),
    *(b"{{ _base_.model }}", b"{{ fileDirname }}", b"f'{root}'", b"import os\n", b"10**9 * [0]"),
)


def _imported(file: Path) -> None:
    imported = import_config(file)
    imported.notes()
    recipe = imported.recipe()
    assert recipe.name == file.stem
    # What the config says is what the recipe has.
    assert imported.differing(recipe) == {}


def _read_bytes(content: bytes, folder: Path) -> None:
    if not (folder / "base").exists():
        write_configs(folder)
    (folder / "mine.py").write_bytes(content)
    _imported(folder / "mine.py")


def _read_tree(values: Any, folder: Path) -> None:
    names = values if isinstance(values, dict) else {"model": values}
    lines = [f"{name} = {value!r}" for name, value in names.items()]
    (folder / "mine.py").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    _imported(folder / "mine.py")


def _read_option(option: str, folder: Path) -> None:
    if not (folder / "base").exists():
        write_configs(folder)
    import_config(folder / f"{METHODS[0]}.py", [option])


def _trees() -> st.SearchStrategy[Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_configs(Path(folder))
        values = [import_config(Path(folder, f"{name}.py")).config.values for name in METHODS]
    kept = ("model", "data", "optimizer", "optimizer_config", "lr_config", "total_epochs")
    trees = [{name: each[name] for name in kept} for each in values]
    return st.one_of([mutated_tree(each) for each in trees])


_KEYS = ("optimizer.lr", "data.train.0.img_prefix", "model.detector.backbone.depth", "a.b", "total")
_OPTIONS = st.builds(
    lambda key, joint, value: f"{key}{joint}{value}",
    st.sampled_from([*_KEYS, *ODD_TEXT]),
    st.sampled_from(["=", "", "==", ".="]),
    st.sampled_from([*map(str, ODD_VALUES[:7]), *ODD_TEXT, "[1,(2,3)]", "((1,2)", "0.5"]),
)
READERS = [
    Reader(
        "config of MMTracking",
        mutated_bytes([texts()[name].encode() for name in NAMES], TOKENS),
        _read_bytes,
    ),
    Reader("values of a config", _trees(), _read_tree),
    Reader("`--cfg-options`", _OPTIONS, _read_option),
]
