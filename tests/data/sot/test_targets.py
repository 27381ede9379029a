"""Every frame comes in order, as RGB at original size; sequences have their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halftrack.data import DataError
from halftrack.data.check import check_sot
from halftrack.data.sot import TestTargets, read_sot
from halftrack.data.sot.targets import partly_published, untrackable
from halftrack.recipes import load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic


@pytest.fixture
def films(tmp_path: Path) -> Path:
    settings = SyntheticVideo(layout="sot", train_videos=1, val_videos=2, frames=9, size=(72, 120))
    write_synthetic(tmp_path / "films", settings)
    return tmp_path / "films"


@pytest.mark.parametrize("threads", [0, 3])
def test_frames_come_in_order_as_rgb_whatever_the_file(films: Path, threads: int) -> None:
    sequences = read_sot(films, "LaSOT")
    path = sequences[0].path(4)
    with Image.open(path) as image:
        image.convert("L").save(path)
    target = TestTargets(sequences=sequences, threads=threads)[0]
    frames = list(target.frames())
    assert len(frames) == len(target) == 9
    assert {(frame.dtype, tuple(frame.shape)) for frame in frames} == {(torch.uint8, (3, 72, 120))}
    assert (frames[4][0] == frames[4][2]).all()
    assert (frames[3][0] != frames[3][2]).any()
    for frame_index in (0, 8):
        with Image.open(sequences[0].path(frame_index)) as image:
            stored = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert (frames[frame_index].int() - stored.int()).abs().max() <= 3
    np.testing.assert_array_equal(target.first_box_xyxy, target.record.truth()[0])


def test_a_frame_that_cannot_be_read_ends_the_sequence(films: Path) -> None:
    (target, _) = TestTargets(sequences=read_sot(films, "LaSOT"))
    Path(target.record.path(5)).write_bytes(b"")
    with pytest.raises(DataError, match=r"00000006.jpg: image is an empty file"):
        list(target.frames())


def test_the_targets_have_their_names_and_frames(films: Path) -> None:
    targets = TestTargets(sequences=read_sot(films, "LaSOT"))
    assert tuple(each.name for each in targets) == targets.names
    assert targets.num_frames == 18


def test_an_image_of_another_size_than_the_first_is_named_and_listed(films: Path) -> None:
    (target, _) = TestTargets(sequences=read_sot(films, "LaSOT"))
    Image.new("RGB", (60, 36)).save(target.record.path(5))
    reason = "image is 60x36, but 120x72 in its sequence's first image: it was resized to 0.5"
    with pytest.raises(DataError, match=reason):
        list(target.frames())
    (problem,) = check_sot(films, "LaSOT").problems
    assert reason in str(problem)


def test_a_first_box_outside_its_image_is_told_before_anything_is_tracked(films: Path) -> None:
    sequences = read_sot(films, "LaSOT")
    lines = (sequences[0].folder / "groundtruth.txt").read_text().splitlines()
    lines[0] = "130,10,20,20"
    (sequences[0].folder / "groundtruth.txt").write_text("\n".join(lines))
    reason = "the first box, .*, is wholly outside the image of width 120 and height 72"
    with pytest.raises(DataError, match=reason):
        TestTargets(sequences=read_sot(films, "LaSOT"))
    (problem,) = check_sot(films, "LaSOT").problems
    assert problem.file == str(sequences[0].folder)
    # What cannot be looked at is the image's problem, not the box's.
    Path(sequences[0].path(0)).write_bytes(b"")
    assert untrackable(read_sot(films, "LaSOT")) == ()


def test_first_boxes_alone_are_for_a_server_where_all_sequences_have_no_more(films: Path) -> None:
    base = films / "GOT-10k/test"
    for number in (1, 2):
        folder = base / f"GOT-10k_Test_{number:06d}"
        folder.mkdir(parents=True)
        (folder / "groundtruth.txt").write_text("5,5,20,20\n")
        for frame in (1, 2):
            Image.new("RGB", (60, 36)).save(folder / f"{frame:08d}.jpg")
    assert partly_published(read_sot(films, "GOT-10k")) == ()
    (folder / "groundtruth.txt").write_text("5,5,20,20\n6,5,20,20\n")
    (problem,) = check_sot(films, "GOT-10k").problems
    assert problem.file.endswith("GOT-10k_Test_000001")
    recipe = load_recipe("siamese_rpn_tiny_sample")
    with pytest.raises(DataError, match="only its first box is here"):
        replace(recipe, benchmark="GOT-10k").scorer(films, torch.device("cpu"))


def test_attributes_that_a_recipe_asks_for_are_checked(films: Path) -> None:
    recipe = load_recipe("siamese_rpn_tiny_sample")
    assert recipe.check_data(films).ok
    missing = replace(recipe, attributes=str(films / "att")).check_data(films).problems
    assert {Path(problem.file).parent.name for problem in missing} == {"att"}
