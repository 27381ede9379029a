"""SELSA on any video: as it is scored, with references from the whole of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch

import halftrack
from halftrack.data import open_video, video_file
from halftrack.data.vid import TestVideos
from halftrack.data.video_file import Picture
from halftrack.recipes import VideoDetectionRecipe, load_recipe, override
from halftrack.synthetic import SyntheticVideo, write_synthetic


@pytest.fixture
def recipe() -> VideoDetectionRecipe:
    settings = ["data.test_references=3", "data.image_scale=(96, 64)"]
    chosen = override(load_recipe("selsa_tiny_sample"), settings)
    assert isinstance(chosen, VideoDetectionRecipe)
    return chosen


@pytest.mark.slow
def test_a_video_is_detected_in_as_a_scored_one_is(
    recipe: VideoDetectionRecipe, tmp_path: Path
) -> None:
    write_synthetic(
        tmp_path,
        SyntheticVideo(layout="vid", train_videos=0, val_videos=1, frames=8, size=(64, 96)),
    )
    torch.save({"state_dict": recipe.build_model().state_dict()}, tmp_path / "some.pth")
    video = TestVideos.open(recipe.data, tmp_path)[0]
    model = recipe.load_model(tmp_path / "some.pth").eval()
    with recipe.precision.inference(torch.device("cpu")):
        model.start(video.references)
        expected = [model.detect(frame) for frame in video.frames()]
    folder = next((tmp_path / "ILSVRC/Data/VID/val").iterdir())
    for together in (1, 3):
        found = [
            tracks
            for _, tracks in halftrack.track(
                recipe.with_test_batch(together), folder, checkpoint=tmp_path / "some.pth"
            )
        ]
        assert len(found) == 8
        assert sum(len(tracks) for tracks in found) > 0
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.labels, other.labels)
            assert torch.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=1e-3, atol=1e-2)
            assert one.ids.tolist() == [-1] * len(one)


def test_a_container_that_does_not_know_its_length_is_counted(
    recipe: VideoDetectionRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with av.open(str(tmp_path / "film.mkv"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for _ in range(8):
            film.mux(stream.encode(av.VideoFrame(96, 64, "rgb24")))
        film.mux(stream.encode(None))
    seen: list[list[int]] = []
    made: list[float | None] = []
    shown_picture = video_file.shown_picture

    def shown(frame: av.VideoFrame, time: float | None) -> Picture:
        made.append(time)
        return shown_picture(frame, time)

    monkeypatch.setattr(video_file, "shown_picture", shown)

    class Model(torch.nn.Module):
        def start(self, references: list[halftrack.frames.Frame]) -> None:
            seen.append([frame.frame_index for frame in references])

        def forward(self, frames: list[halftrack.frames.Frame]) -> list[object]:
            return []

    unknown = open_video(tmp_path / "film.mkv")
    assert unknown.num_frames is None
    for length in (8, None, 50):
        source = replace(unknown, num_frames=length)
        tracker = recipe.video_tracker(None)(Model(), torch.device("cpu"), source)
        assert list(tracker.steps([])) == []
    assert seen == [[0, 4, 7], [0, 4, 7], [0]]
    assert len(made) == 7  # references alone become pictures


def test_a_live_video_is_refused(recipe: VideoDetectionRecipe, tmp_path: Path) -> None:
    write_synthetic(
        tmp_path,
        SyntheticVideo(layout="vid", train_videos=0, val_videos=1, frames=8, size=(64, 96)),
    )
    folder = next((tmp_path / "ILSVRC/Data/VID/val").iterdir())
    with pytest.raises(ValueError, match=r"whole video, and .* is live: take a file"):
        halftrack.track(recipe, replace(open_video(folder), live=True), checkpoint="some.pth")
