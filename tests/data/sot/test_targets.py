"""Every frame comes in order, as RGB at original size; ranks share whole sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halftrack.data import DataError
from halftrack.data.sot import TestTargets, read_sot
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


def test_ranks_share_whole_sequences(films: Path) -> None:
    sequences = read_sot(films, "LaSOT")
    shares = [TestTargets(sequences=sequences, rank=rank, world_size=2) for rank in range(2)]
    names = tuple(each.name for each in sequences)
    assert [[each.name for each in share] for share in shares] == [[names[0]], [names[1]]]
    assert [share.num_frames for share in shares] == [9, 9]
    assert shares[1].names == names
    with pytest.raises(ValueError, match="rank=2, world_size=2"):
        TestTargets(sequences=sequences, rank=2, world_size=2)
