"""Frames that share a pass: a few at a time, in order, of one size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from halftrack.data import DataError
from halftrack.data.prefetch import passes
from halftrack.frames import Frame


def film(*widths: int) -> list[Frame]:
    return [
        Frame(image=torch.zeros((3, 4, width), dtype=torch.uint8), sample_id=str(i), frame_index=i)
        for i, width in enumerate(widths)
    ]


@pytest.mark.parametrize(
    ("widths", "most", "expected"),
    [
        ((), 4, []),
        ((8, 8, 8), 1, [[0], [1], [2]]),
        ((8, 8, 8, 8), 2, [[0, 1], [2, 3]]),
        ((8, 8, 8), 2, [[0, 1], [2]]),
        ((8, 8), 9, [[0, 1]]),
        ((8, 9, 9, 8), 3, [[0], [1, 2], [3]]),
    ],
)
def test_a_pass_ends_when_it_is_full_or_the_size_changes(widths, most, expected) -> None:
    found = [[frame.frame_index for frame in each] for each in passes(film(*widths), most)]
    assert found == expected


def test_a_full_pass_does_not_wait_for_the_next_frame() -> None:
    frames = iter(film(8, 8, 8))
    assert len(next(passes(frames, 2))) == 2
    assert next(frames).frame_index == 2


def test_frames_before_one_that_cannot_be_read_are_a_pass() -> None:
    def cut_short() -> Iterator[Frame]:
        yield from film(8, 8, 8)
        raise DataError("film.mp4", "frame 3 cannot be decoded")

    found: list[list[int]] = []
    with pytest.raises(DataError, match="frame 3"):
        found.extend([frame.frame_index for frame in each] for each in passes(cut_short(), 2))
    assert found == [[0, 1], [2]]
