"""A replay bundle comes back as it went in, without pickle, or says what is wrong with it."""

from __future__ import annotations

import json
import math
import random
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from halftrack.errors import UserError
from halftrack.frames import Clip, CropBatch, Frame, FrameBatch, PairBatch
from halftrack.precision import Precision
from halftrack.training.files.bundle import (
    ReplayBundle,
    flatten,
    read_bundle,
    seal_bundle,
    unflatten,
    write_bundle,
)


def frame(name: str, *, public: bool = False) -> Frame:
    return Frame(
        image=torch.randint(0, 256, (3, 4, 6), dtype=torch.uint8),
        sample_id=name,
        frame_index=3,
        scale_xy=(0.5, 0.25),
        boxes_xyxy=torch.tensor([[0.0, 1.0, math.nan, 3.0]]),
        labels=torch.tensor([2]),
        public_xyxy=torch.zeros((0, 4)) if public else None,
    )


BATCHES = [
    Clip(key=frame("a"), references=(frame("b"), frame("c", public=True))),
    FrameBatch(frames=(frame("d"),)),
    CropBatch(images=torch.rand(2, 3, 4, 4), labels=torch.tensor([1, 0]), sample_ids=("e", "f")),
    PairBatch(
        templates=torch.rand(1, 3, 4, 4),
        searches=torch.rand(1, 3, 8, 8).to(memory_format=torch.channels_last),
        boxes_xyxy=torch.rand(1, 4),
        positive=torch.tensor([True]),
        sample_ids=("g",),
    ),
]


def types_of(recipe: Mapping[str, Any]) -> Sequence[type]:
    """The dataclasses of all batches above, as a recipe of that name would give them."""
    return (Clip, CropBatch, Frame, FrameBatch, PairBatch) if recipe["name"] == "tiny" else ()


def bundle(*batches: object) -> ReplayBundle:
    shared = torch.rand(3)
    return ReplayBundle(
        recipe={"name": "tiny", "training": {"lr": 0.1}},
        precision=Precision("fp16", 512.0, ("head.*",)),
        loss_scale=512.0,
        step=12,
        epoch=1,
        batches=batches,
        seeds=tuple(2**62 + index for index in range(len(batches))),
        weights={"a": shared, "b": shared[:2]},
        device="cpu",
        culprit=None,
        versions={"torch": "2", "git": None},
    )


def equal(one: object, other: object) -> bool:
    trees, tensors = zip(*(flatten(value, "x") for value in (one, other)), strict=True)
    return trees[0] == trees[1] and all(
        tensor.dtype == tensors[1][name].dtype
        and torch.equal(tensor.nan_to_num(7), tensors[1][name].nan_to_num(7))
        for name, tensor in tensors[0].items()
    )


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: type(batch).__name__)
def test_batches_of_every_task_come_back(batch: object, tmp_path: Path) -> None:
    written = bundle(batch, BATCHES[0])
    write_bundle(written, tmp_path / "b")
    read = read_bundle(tmp_path / "b", types_of)
    assert all(equal(*pair) for pair in zip(read.batches, written.batches, strict=True))
    assert type(read.batches[0]) is type(batch)
    assert (read.seeds, read.precision, read.recipe) == (
        written.seeds,
        written.precision,
        written.recipe,
    )
    assert all(torch.equal(read.weights[name], value) for name, value in written.weights.items())


def test_plain_values_keep_their_types() -> None:
    value = (1, True, None, "x", [0.5, (math.inf, -math.inf)])
    tree, tensors = flatten(value, "v")
    again = unflatten(json.loads(json.dumps(tree, allow_nan=False)), tensors, ())
    assert again == value
    assert type(again[4]) is list


def test_what_cannot_be_kept_is_an_error_that_names_its_place() -> None:
    with pytest.raises(TypeError, match=r"v\.1\.0 is a set; a replay bundle holds"):
        flatten((1, [set()]), "v")


def test_a_bundle_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no replay bundle in .*bundle.json is missing"):
        read_bundle(tmp_path, types_of)


def test_a_torn_bundle_is_an_error(tmp_path: Path) -> None:
    write_bundle(bundle(BATCHES[2]), tmp_path / "b")
    file = tmp_path / "b/tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"damaged: its files do not match checksum\.txt"):
        read_bundle(tmp_path / "b", types_of)


def test_a_disk_that_is_full_leaves_nothing_of_a_bundle(tmp_path: Path) -> None:
    large = CropBatch(images=torch.rand(9, 3, 64, 64), labels=torch.ones(9), sample_ids=())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))  # the JSON fits
    try:
        with pytest.raises(OSError, match=r"tensors\.safetensors.* too large"):
            write_bundle(bundle(large), tmp_path / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_runs_folder_that_is_away_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bundle(bundle(BATCHES[2]), tmp_path / "run/skipped/step_1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["bundle.json", "tensors.safetensors", "checksum.txt"])
def test_each_flipped_bit_of_a_bundle_is_found(name: str, tmp_path: Path) -> None:
    write_bundle(bundle(BATCHES[2]), tmp_path / "b")
    file = tmp_path / "b" / name
    good = file.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(good)), 60):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"do not match checksum\.txt"):
            read_bundle(tmp_path / "b", types_of)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('"loss_scale"', '"scale"'),
        ('"seeds": [', '"seeds": 5, "x": ['),
        ('"precision": {', '"precision": [], "x": {'),
        ('"kind": "CropBatch"', '"kind": "CropBatch", "tensor": "no"'),
    ],
)
def test_a_bundle_of_another_version_is_an_error_in_a_line(
    was: str, now: str, tmp_path: Path
) -> None:
    write_bundle(bundle(BATCHES[2]), tmp_path / "b")
    file = tmp_path / "b/bundle.json"
    file.write_text(file.read_text().replace(was, now, 1))
    seal_bundle(tmp_path / "b")
    with pytest.raises(UserError, match="no replay bundle of this version: ") as caught:
        read_bundle(tmp_path / "b", types_of)
    assert "\n" not in str(caught.value)


def test_a_batch_of_an_unknown_kind_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    write_bundle(bundle(BATCHES[2]), tmp_path / "b")
    with pytest.raises(ValueError, match="no batch type 'CropBatch'; there are Clip, Frame: name"):
        read_bundle(tmp_path / "b", lambda _: [Clip, Frame])


def test_writing_again_replaces_the_old_and_leaves_nothing_else(tmp_path: Path) -> None:
    for batches in (BATCHES[:1], BATCHES[1:]):
        write_bundle(bundle(*batches), tmp_path / "b")
    assert len(read_bundle(tmp_path / "b", types_of).batches) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
