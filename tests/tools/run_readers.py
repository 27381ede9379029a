"""The readers of a run's files and of the command line's values, set up to be fuzzed: see
``fuzzing``.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fuzzing import ODD_VALUES, Reader, mutated_bytes, mutated_tree
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from weights_readers import pickle_of, pickle_reader, weights_reader

from halftrack.cli.track import first_box
from halftrack.data.image_header import MAX_PIXELS, header_of
from halftrack.data.images import load_image
from halftrack.frames import CropBatch
from halftrack.precision import Precision
from halftrack.recipes import load_recipe, override, replay
from halftrack.recipes.kinds.renamed import field_paths
from halftrack.rehearsing.gpu import parse_memory
from halftrack.studies.memory.step_sizes import parse_image
from halftrack.training.files.bundle import ReplayBundle, read_bundle, seal_bundle, write_bundle
from halftrack.training.files.checkpoint import read_checkpoint, write_checkpoint
from halftrack.training.result import TrainingResult
from halftrack.training.same_run import (
    ALL_FIXED,
    check_parts,
    check_same_data,
    check_same_run,
    check_same_start,
)

RECIPES = [
    load_recipe(f"{name}_tiny_sample")
    for name in ("selsa", "faster-rcnn", "reid", "tracktor", "siamese_rpn")
]
_MODEL = nn.Linear(3, 2)
_FACTS = {"an epoch": {"batches": 4}, "train": {"videos": 2, "names": "ab"}}
_STATE: dict[str, Any] = {
    "meta": {"recipe": {"name": "tiny", "training": {"lr": 0.1}}, "seed": 0, "data": _FACTS},
    "position": {
        **dict.fromkeys(("batches_done", "epochs_finished", "steps", "skipped"), 4),
        "metrics": {},
        "best": None,
    },
    **{part: {} for part in ("log", "optimizer", "schedule", "loss_scale", "average")},
}
_PICKLE_TOKENS = [
    b"cos\nsystem\n(S'true'\ntR.", b"ctorch\nload\n", b"cbuiltins\neval\n", b"R", b".", b"(", b"}",
    b"]", b"\x85", b"\x8c\xff", b"X\xff\xff\xff\x7f", b"B\xff\xff\xff\x7f", b"h\xff", b"Q",
    b"J\xff\xff\xff\x7f", b"K\x00", b"N", b"G\x7f\xf8\0\0\0\0\0\0", b"PK\x05\x06", b"PK\x03\x04",
    b"halftrack blake2b ", b"version https://git-lfs", b"<html>",
]  # fmt: skip


def _saved(**how: Any) -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": _MODEL.state_dict(), **_STATE}, stream, **how)
    return stream.getvalue()


def _sealed() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.pth"
        write_checkpoint(file, {"state_dict": _MODEL.state_dict(), **_STATE})
        return file.read_bytes()


read_weights, read_pickle = weights_reader(_MODEL), pickle_reader(_MODEL, _saved())


def read_state(state: Any, folder: Path) -> None:
    """A checkpoint of another program under the name of a run's."""
    torch.save(state, folder / "step_4.pth")
    path = folder / "step_4.pth"
    found = read_checkpoint(path)
    check_parts(path, found)
    check_same_run(path, found["meta"], recipe=_STATE["meta"]["recipe"], seed=0, free=ALL_FIXED)
    check_same_data(path, found, _FACTS, may_change=False)
    check_same_start(path, found["meta"], "none")
    TrainingResult.of_checkpoint(path, found)


def _bundle() -> tuple[bytes, bytes, bytes]:
    """The files of a step of the smallest model there is."""
    recipe = override(
        load_recipe("reid_tiny_sample"),
        ["model.backbone.base_channels=8", "model.hidden_channels=8", "model.out_channels=8"],
    )
    recipe = recipe.for_training().without_data()
    batch = CropBatch(
        images=torch.zeros(2, 3, 16, 16), labels=torch.tensor([0, 1]), sample_ids=("a", "b")
    )
    bundle = ReplayBundle(
        recipe=recipe.to_dict(),
        precision=Precision(),
        loss_scale=1.0,
        step=1,
        epoch=0,
        batches=(batch,),
        seeds=(7,),
        weights=recipe.build_model().state_dict(),
        device="cpu",
        culprit=None,
        versions={"torch": "2"},
    )
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(bundle, Path(folder) / "a")
        plain, tensors, seal = (
            (Path(folder) / "a" / name).read_bytes()
            for name in ("bundle.json", "tensors.safetensors", "checksum.txt")
        )
    return plain, tensors, seal


_PLAIN, _TENSORS, _SEAL = _bundle()


def read_bundle_files(files: tuple[bytes, bytes, bytes], folder: Path) -> None:
    for name, content in zip(
        ("bundle.json", "tensors.safetensors", "checksum.txt"), files, strict=True
    ):
        (folder / name).write_bytes(content)
    replay(folder)


def read_other_bundle(tree: Any, folder: Path) -> None:
    """A bundle of another version: its files are whole."""
    (folder / "bundle.json").write_text(json.dumps(tree))
    (folder / "tensors.safetensors").write_bytes(_TENSORS)
    seal_bundle(folder)
    read_bundle(folder, _batch_types)


def _batch_types(recipe: Mapping[str, Any]) -> tuple[type, ...]:
    return (CropBatch,) if recipe["name"] else ()


def read_setting(given: tuple[int, str], folder: Path) -> None:
    index, assignment = given
    recipe = RECIPES[index]
    changed = override(recipe, [assignment])
    assert type(recipe).from_dict(changed.to_dict()) == changed


def _settings() -> st.SearchStrategy[tuple[int, str]]:
    anything = st.text(st.characters(codec=None), max_size=30)
    plain = st.one_of(
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.booleans(),
        st.none(),
        st.binary(max_size=4),
    )
    literals = st.one_of(
        plain,
        st.lists(plain, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), plain, max_size=2),
        st.lists(st.lists(plain, max_size=3), max_size=2),
    )
    values = st.one_of(literals.map(repr), anything, st.sampled_from([*map(_odd, ODD_VALUES)]))
    paths = [list(field_paths(dataclasses.asdict(recipe))) for recipe in RECIPES]

    def of(index: int) -> st.SearchStrategy[tuple[int, str]]:
        field = st.one_of(st.sampled_from(paths[index]), anything)
        return st.tuples(st.just(index), st.builds("{}={}".format, field, values))

    return st.integers(0, len(RECIPES) - 1).flatmap(of)


def _odd(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _texts(*starts: str, tokens: tuple[bytes, ...] = ()) -> st.SearchStrategy[str]:
    mutated = mutated_bytes([start.encode() for start in starts], tokens)
    odd = st.one_of(
        st.text(max_size=40), st.sampled_from([v for v in ODD_VALUES if type(v) is str])
    )
    return st.one_of(mutated.map(lambda found: found.decode("utf-8", "surrogateescape")), odd)


def read_box(text: str, folder: Path) -> None:
    x1, y1, x2, y2 = first_box(text)
    assert -1e6 <= x1 < x2 <= 2e6
    assert -1e6 <= y1 < y2 <= 2e6


def read_box_file(content: bytes, folder: Path) -> None:
    (folder / "box.txt").write_bytes(content)
    read_box(str(folder / "box.txt"), folder)


def read_memory(text: str, folder: Path) -> None:
    assert 1 <= parse_memory(text) <= 2**70


def read_image_size(text: str, folder: Path) -> None:
    assert min(parse_image(text)) >= 1


def _image(kind: str) -> bytes:
    with io.BytesIO() as stream:
        Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(stream, kind)
        return stream.getvalue()


def read_image(content: bytes, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(content)
    header = header_of(folder / "a.jpg")
    assert 0 < header.height * header.width <= MAX_PIXELS
    if header.height * header.width < 1_000_000:
        assert load_image(folder / "a.jpg").shape == (3, header.height, header.width)


_BOX_TOKENS = (b"nan", b"inf", b"1e999", b"-", b",", b"0", b"\n", b"\xef\xbb\xbf", b"_", b"1e308")
_SIZE_TOKENS = (b"GiB", b"MB", b"x", b"X", b".", b"e9", b"-", b"\xd9\xa1", b"0", b"inf", b"nan")
_IMAGES = [_image(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")]
READERS = [
    Reader(
        "checkpoint",
        mutated_bytes(
            [_sealed(), _saved(), _saved(_use_new_zipfile_serialization=False)], _PICKLE_TOKENS
        ),
        read_weights,
    ),
    Reader(
        "pickle of a checkpoint",
        mutated_bytes([pickle_of(_saved())], _PICKLE_TOKENS),
        read_pickle,
    ),
    Reader("checkpoint of a run", mutated_tree({"state_dict": {}, **_STATE}), read_state),
    Reader(
        "replay bundle",
        st.tuples(
            *(
                mutated_bytes([each], [b"null", b"NaN", b"{", b"9" * 400], edits=2)
                for each in (_PLAIN, _TENSORS, _SEAL)
            )
        ),
        read_bundle_files,
        slow=2,
    ),
    Reader("replay bundle of another version", mutated_tree(json.loads(_PLAIN)), read_other_bundle),
    Reader("--set", _settings(), read_setting),
    Reader("--init-box", _texts("1,2,3,4", "10 20 30.5 40", tokens=_BOX_TOKENS), read_box),
    Reader(
        "--init-box of a file",
        mutated_bytes([b"1,2,3,4\n", b"10\t20\t30.5\t40\n5,6,7,8"], _BOX_TOKENS),
        read_box_file,
    ),
    Reader("--gpu-memory", _texts("24GiB", "11.5 GB", tokens=_SIZE_TOKENS), read_memory),
    Reader("--image", _texts("608x1008", tokens=_SIZE_TOKENS), read_image_size),
    Reader(
        "image", mutated_bytes(_IMAGES, [b"\xff\xd9", b"IEND", b"\xff\xc0"]), read_image, slow=2
    ),
]
