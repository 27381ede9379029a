"""Videos of each layout with their ground truth, as they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import own_trees
import pytest
import small_trees as trees
from small_trees import FRAMES, SIZE, Tree, change_tree

from halftrack.data.own.layouts import recognise
from halftrack.data.own.videos import own_videos

CASES: dict[str, tuple[Callable[[], Tree], int, int, str]] = {
    "ImageNet VID": (own_trees.own_vid, 4, FRAMES, "tram"),
    "MOT17": (partial(trees.mot, "MOT17"), 3, FRAMES, "pedestrian"),
    "sequences": (own_trees.sequences, 2, FRAMES, "pedestrian"),
    "LaSOT": (trees.lasot, 4, FRAMES, ""),
    "COCO": (own_trees.coco, 3, FRAMES, "car"),
    "YOLO": (own_trees.yolo, 1, 3, "van"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_layout_gives_videos_with_images_and_boxes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree, count, length, class_name = CASES[name]
    change_tree(tmp_path / "data", {}, tree())
    (found,) = recognise(tmp_path / "data")
    videos = own_videos(found)
    assert len(videos) == count
    assert len(videos[0]) == length
    assert not class_name or class_name in videos[0].class_names
    first, last = videos[0].images([0, length - 1])
    assert first.shape == last.shape == (3, *SIZE)
    assert len(videos[0].truth(0)) >= 1
    for tracks in map(videos[0].truth, range(length)):
        assert len(set(tracks.ids.tolist())) == len(tracks)


def test_a_film_gives_the_frames_asked_for(tmp_path: Path) -> None:
    own_trees.write_films(tmp_path)
    (found,) = recognise(tmp_path)
    first, _ = own_videos(found)
    shades = [int(image.float().mean()) for image in first.images([1, 4])]
    assert shades[1] - shades[0] > 40, "frames are 20 brighter, each than the one before"
    assert first.truth(2).boxes_xyxy.tolist() == [[8, 6, 28, 30]]
    assert first.class_names[first.truth(2).labels[0]] == "car"
