"""Tracktor put together: parity with the reference, training to tracking, users' mistakes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from golden import GOLDEN, load, recipe, weights
from PIL import Image
from torch import Tensor

import halftrack
from halftrack.data import DataError, open_video
from halftrack.data.mot import read_crops
from halftrack.evaluation import write_results
from halftrack.frames import Detections, Frame
from halftrack.models import ReIDConfig
from halftrack.recipes import (
    FrameDetectionRecipe,
    ReIDRecipe,
    TrackingEvaluation,
    TrackingRecipe,
    evaluate,
    load_recipe,
    override,
    prepare_model,
    score_results,
    train,
)
from halftrack.report.track_video import track_video
from halftrack.report.video import VideoWriter
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.tracking import Tracktor, TracktorConfig

TRACKTOR = "tracktor_faster-rcnn_r50_fpn_4e_mot17-private-half"
TRACKTOR_FP16 = "tracktor_faster-rcnn_r50_fpn_fp16_4e_mot17-private-half"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films")
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=1, frames=10)
    return write_synthetic(root, settings)


def short(name: str) -> Any:
    settings = ("training.epochs=1", "training.milestones=()", "training.workers=0")
    recipe = override(load_recipe(name), list(settings))
    few = ("max_crops=2", "min_crops=1", "identities_per_batch=3", "crops_per_identity=2")
    return override(recipe, [f"data.{each}" for each in few]) if "reid" in name else recipe


@pytest.fixture(scope="module")
def parts(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Detector and ReID trained for a moment in fp16."""
    out = tmp_path_factory.mktemp("parts")
    files = {}
    for part in ("faster-rcnn", "reid"):
        recipe = short(f"{part}_tiny_sample").with_precision("fp16")
        train(recipe, data_root=data_root, out=out / part)
        files[part] = out / part / "best.pth"
    return files


@pytest.fixture(scope="module")
def tracker(parts: dict[str, Path]) -> TrackingRecipe:
    recipe = load_recipe("tracktor_tiny_sample")
    assert isinstance(recipe, TrackingRecipe)
    return dataclasses.replace(
        recipe,
        detector_checkpoint=str(parts["faster-rcnn"]),
        reid_checkpoint=str(parts["reid"]),
        # A detector that has hardly learned anything still tracks something.
        tracker=TracktorConfig(detection_score=0.0, regression_score=0.0),
        detector=dataclasses.replace(
            recipe.detector,
            roi_head=dataclasses.replace(recipe.detector.roi_head, score_threshold=0.0),
        ),
    )


def test_with_its_reid_network_every_frame_equals_the_reference() -> None:
    golden, module = load("tracktor_scripted_A.npz"), recipe()
    clip, _ = module.make_clip("trackA", 14, 192, 320, 4, (3.0, -1.0))
    assert hashlib.sha256(clip.tobytes()).digest() == golden["frames_sha256"].tobytes()
    entries = json.loads((GOLDEN / "tracktor_state_dict.json").read_text())
    entries = [entry for entry in entries if entry[0].startswith("reid.")]
    reid = ReIDConfig(num_identities=380).build().eval()
    values = weights(entries, "mot").items()
    reid.load_state_dict({key.removeprefix("reid."): value for key, value in values})

    class Scripted:
        def detect(self, frame: Frame) -> Detections:
            rows = torch.from_numpy(golden[f"script_dets_{frame.frame_index}"])
            labels = torch.zeros(len(rows), dtype=torch.int64)
            return Detections(boxes_xyxy=rows[:, :4], scores=rows[:, 4], labels=labels)

        def regress(self, frame: Frame, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
            objects = golden[f"script_objects_{frame.frame_index}"]
            boxes, scores = module.scripted_regress(boxes_xyxy.numpy(), objects)
            return torch.from_numpy(boxes)[:, None], torch.from_numpy(scores)[:, :1]

    def stored_warp(_: Frame, frame: Frame) -> Tensor:
        return torch.from_numpy(golden[f"scripted_pool_warp_{frame.frame_index}"])

    tracktor = Tracktor(
        detector=Scripted(),
        embedder=reid.embed,
        camera_motion=stored_warp,
        config=TracktorConfig(compatible=True),
    )
    for t, image in enumerate(clip[..., ::-1]):
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)
        tracks = tracktor.step(Frame(image=pixels, sample_id=str(t), frame_index=t))
        expected = golden[f"scripted_reid_track_{t}"]
        assert tracks.ids.tolist() == expected[:, 0].tolist()
        assert np.abs(tracks.boxes_xyxy.numpy() - expected[:, 1:5]).max() < 1e-2
        assert sorted(tracktor.live_ids) == golden[f"scripted_reid_live_ids_{t}"].tolist()


@pytest.mark.parametrize(
    ("compatible", "least", "most"), [(True, 0.0, 0.008), (False, 0.008, 0.015)]
)
def test_camera_motion_is_the_references_where_its_images_are_compared(
    compatible: bool, least: float, most: float
) -> None:
    golden, module = load("tracktor_scripted_A.npz"), recipe()
    clip, _ = module.make_clip("trackA", 14, 192, 320, 4, (3.0, -1.0))
    images = [torch.from_numpy(image.copy()).permute(2, 0, 1) for image in clip[..., ::-1]]
    frames = [Frame(image=image, sample_id=str(t)) for t, image in enumerate(images)]
    tracking = override(load_recipe(TRACKTOR), ["reid=None", f"tracker.compatible={compatible}"])
    motion = tracking.new_tracker(tracking.build_model()).camera_motion
    corners = torch.tensor([[x, y, 1.0] for x in (0, 319) for y in (0, 191)])
    worst = 0.0
    for t in range(1, 14):
        expected = torch.from_numpy(golden[f"scripted_pool_warp_{t}"]).float()
        apart = corners @ (motion(frames[t - 1], frames[t]) - expected).T
        worst = max(worst, float(apart.abs().max()))
    assert least < worst < most


def test_the_keys_of_the_whole_are_the_references() -> None:
    entries = json.loads((GOLDEN / "tracktor_state_dict.json").read_text())
    recipe = override(load_recipe(TRACKTOR), ["reid.num_identities=380"])
    ours = [[k, list(v.shape)] for k, v in recipe.build_model().state_dict().items()]
    assert ours == [[key, shape] for key, shape, _ in entries]


@pytest.mark.parametrize(
    ("entry", "name", "epochs"),
    [("det", "faster-rcnn_r50_fpn_4e_mot17-half", 4), ("reid", "resnet50_b32x8_MOT17", 6)],
)
def test_the_published_settings_are_the_configs(entry: str, name: str, epochs: int) -> None:
    expected = json.loads((GOLDEN / "schedules.json").read_text())[entry]
    training = load_recipe(name).training
    assert training.epochs == epochs
    assert training.lr == expected["lr"]
    assert training.warmup_steps == expected["lr_config"]["warmup_iters"]
    assert training.warmup_ratio == pytest.approx(expected["lr_config"]["warmup_ratio"])
    assert list(training.milestones) == expected["lr_config"]["step"]
    assert training.max_grad_norm is None


def test_the_published_trackers_repeat_the_defect_and_name_their_parts() -> None:
    for name, precision in ((TRACKTOR, "fp32"), (TRACKTOR_FP16, "fp16")):
        recipe = load_recipe(name)
        assert recipe.tracker.compatible
        assert recipe.precision.name == precision
        for part in (recipe.detector_recipe, recipe.reid_recipe):
            assert load_recipe(part).precision.name == precision
        assert recipe.detector_checkpoint == f"runs/{recipe.detector_recipe}_{precision}/best.pth"
    assert not load_recipe("tracktor_tiny_sample").tracker.compatible


@pytest.mark.parametrize(("name", "clips"), [("4e_mot17", False), ("8e_mot20", True)])
def test_boxes_are_cut_to_the_image_on_mot20_alone(name: str, clips: bool) -> None:
    for model in (
        load_recipe(f"faster-rcnn_r50_fpn_{name}-half").model,
        load_recipe(f"tracktor_faster-rcnn_r50_fpn_{name}-private-half").detector,
    ):
        assert (model.rpn.clip_to_image, model.roi_head.clip_to_image) == (clips, clips)


def test_identities_are_counted_from_the_data(data_root: Path) -> None:
    recipe = load_recipe("reid_tiny_sample")
    assert isinstance(recipe, ReIDRecipe)
    settled = recipe.settled(data_root)
    assert settled.model.num_identities == read_crops(recipe.data, data_root).num_identities
    assert override(recipe, ["model.num_identities=7"]).settled(data_root).model.num_identities == 7


def test_trained_parts_track_score_and_write(
    tracker: TrackingRecipe, data_root: Path, tmp_path: Path
) -> None:
    scored = evaluate(tracker, data_root=data_root, checkpoint=None)
    assert isinstance(scored, TrackingEvaluation)
    (name,) = scored.results
    assert scored.frames == 10
    assert {"mota", "idf1", "hota", "idsw"} <= set(scored.flat())
    assert len(scored.results[name]) > 0
    write_results(tmp_path / f"{name}.txt", scored.results[name])
    again = score_results(tracker, tmp_path, data_root=data_root)
    assert again.flat() == pytest.approx(scored.flat(), abs=1e-3)


def test_one_file_of_both_parts_equals_two_files(
    tracker: TrackingRecipe, data_root: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "tracktor.pth"
    torch.save({"state_dict": tracker.load_model(None).state_dict()}, whole)
    joined, parted = tracker.load_model(whole).state_dict(), tracker.load_model(None).state_dict()
    assert all(torch.equal(joined[key], value) for key, value in parted.items())
    detector = load_recipe("faster-rcnn_tiny_sample").load_model(whole).state_dict()
    assert all(torch.equal(value, parted[f"detector.{k}"]) for k, value in detector.items())
    reid = load_recipe("reid_tiny_sample").load_model(whole).state_dict()
    assert all(torch.equal(value, parted[f"reid.{key}"]) for key, value in reid.items())


def test_a_video_is_tracked_frame_by_frame_as_a_sequence_is(
    tracker: TrackingRecipe, data_root: Path
) -> None:
    scored = evaluate(tracker, data_root=data_root, checkpoint=None)
    assert isinstance(scored, TrackingEvaluation)
    ((name, rows),) = scored.results.items()
    source = open_video(data_root / "MOT17/test" / name, image_scale=tracker.data.image_scale)
    count = 0
    for number, (each, tracks) in enumerate(halftrack.track(tracker, source), start=1):
        chosen = rows.frame_numbers == number
        assert tracks.ids.tolist() == rows.ids[chosen].tolist()
        assert np.allclose(tracks.boxes_xyxy.numpy(), rows.boxes_xyxy[chosen], atol=1e-3)
        assert each.image.shape == (3, 192, 320)
        count += 1
    assert count == 10


def test_a_detector_that_looks_ahead_gives_the_same_tracks(
    tracker: TrackingRecipe, data_root: Path
) -> None:
    alone = evaluate(tracker, data_root=data_root, checkpoint=None)
    ahead = evaluate(tracker.with_test_batch(4), data_root=data_root, checkpoint=None)
    assert isinstance(alone, TrackingEvaluation)
    assert isinstance(ahead, TrackingEvaluation)
    ((name, rows),) = alone.results.items()
    assert ahead.frames == 10
    assert len(rows) > 0
    assert np.array_equal(ahead.results[name].ids, rows.ids)
    assert np.allclose(ahead.results[name].boxes_xyxy, rows.boxes_xyxy, rtol=0, atol=1e-3)


@pytest.mark.parametrize("together", [3, 16])
def test_frames_of_a_video_that_share_a_pass_have_the_same_tracks(
    tracker: TrackingRecipe, data_root: Path, together: int
) -> None:
    folder = next((data_root / "MOT17/test").iterdir())
    alone = list(halftrack.track(tracker, folder))
    shared = list(halftrack.track(tracker.with_test_batch(together), folder))
    assert [each.frame.frame_index for each, _ in shared] == list(range(10))
    assert sum(len(tracks) for _, tracks in alone) > 0
    for (_, one), (_, other) in zip(alone, shared, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.labels, other.labels)
        assert torch.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=1e-4, atol=1e-4)
        assert torch.allclose(one.scores, other.scores, rtol=0, atol=1e-4)


def test_frames_of_a_pass_before_a_damaged_one_are_tracked(
    tracker: TrackingRecipe, data_root: Path, tmp_path: Path
) -> None:
    folder = next((data_root / "MOT17/test").iterdir())
    for number, file in enumerate(sorted((folder / "img1").iterdir())[:7], start=1):
        content = file.read_bytes()
        (tmp_path / f"{number}.jpg").write_bytes(content if number < 7 else content[:200])
    tracked: list[int] = []
    steps = halftrack.track(tracker.with_test_batch(4), tmp_path)
    with pytest.raises(DataError, match=r"7\.jpg"):
        tracked.extend(each.frame.frame_index for each, _ in steps)
    assert tracked == list(range(6))


def test_the_callers_precision_is_untouched_between_frames(
    tracker: TrackingRecipe, data_root: Path
) -> None:
    folder = next((data_root / "MOT17/test").iterdir())
    for _ in halftrack.track(tracker.with_precision("fp16"), folder):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()


def test_public_detections_take_the_place_of_the_detectors_own(
    tracker: TrackingRecipe, data_root: Path
) -> None:
    public = override(tracker, ["data.public=True"])
    scored = evaluate(public, data_root=data_root, checkpoint=None)
    private = evaluate(tracker, data_root=data_root, checkpoint=None)
    assert scored.flat() != private.flat()
    with pytest.raises(ValueError, match="takes its boxes from a public detector"):
        halftrack.track(public, data_root)


def test_detections_of_a_file_are_tracked_as_public_ones_are_in_a_split(
    tracker: TrackingRecipe, data_root: Path
) -> None:
    public = override(tracker, ["data.public=True"])
    scored = evaluate(public, data_root=data_root, checkpoint=None)
    assert isinstance(scored, TrackingEvaluation)
    ((name, rows),) = scored.results.items()
    folder = data_root / "MOT17/test" / name
    found = halftrack.track(public, folder, detections=folder / "det/det.txt")
    ids = [tracks.ids.tolist() for _, tracks in found]
    assert len(rows) > 0
    assert ids == [rows.ids[rows.frame_numbers == number].tolist() for number in range(1, 11)]


def test_detections_behind_the_last_frame_are_noted(
    tracker: TrackingRecipe, data_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "det.txt").write_text("1,-1,9,9,20,40,1\n99,-1,9,9,20,40,1\n")
    told: list[str] = []
    folder = next((data_root / "MOT17/test").iterdir())
    list(halftrack.track(tracker, folder, detections=tmp_path / "det.txt", say=told.append))
    assert f"{tmp_path}/det.txt: 1 detections lie behind the last frame, 10" in told
    (tmp_path / "det.txt").write_text("1,-1,9,9,20\n")
    with pytest.raises(DataError, match=r"det\.txt: 5 columns; expected"):
        halftrack.track(tracker, folder, detections=tmp_path / "det.txt")


def test_a_split_without_truth_gives_tracks_and_no_scores(
    tracker: TrackingRecipe, data_root: Path, tmp_path: Path
) -> None:
    write_synthetic(tmp_path, SyntheticVideo(layout="mot", train_videos=0, val_videos=1, frames=8))
    for file in tmp_path.glob("MOT17/test/*/gt/gt.txt"):
        file.unlink()
    scored = evaluate(tracker, data_root=tmp_path, checkpoint=None)
    assert isinstance(scored, TrackingEvaluation)
    assert scored.metrics is None
    assert scored.flat() == scored.numbers() == {}
    assert len(scored.results) == 1
    with pytest.raises(ValueError, match="test of MOT17 has no ground truth"):
        score_results(tracker, tmp_path, data_root=tmp_path)


def test_ground_truth_missing_in_part_or_whole_is_known_before_anything_runs(
    tracker: TrackingRecipe, tmp_path: Path
) -> None:
    write_synthetic(tmp_path, SyntheticVideo(layout="mot", train_videos=0, val_videos=2, frames=8))
    first, second = sorted(tmp_path.glob("MOT17/test/*/gt/gt.txt"))
    first.unlink()
    with pytest.raises(DataError, match=r"MOT17-60-FRCNN.*ground truth is missing here, though"):
        tracker.scorer(tmp_path, torch.device("cpu"))
    with pytest.raises(DataError, match=r"MOT17-60-FRCNN.*ground truth is missing"):
        load_recipe("faster-rcnn_tiny_sample").scorer(tmp_path, torch.device("cpu"))
    first.write_text("1,1,5,5,20,20,0,8,1\n")
    with pytest.raises(ValueError, match="none of its 1 rows in the frames 1 to 8 is scored"):
        tracker.scorer(tmp_path, torch.device("cpu"))
    assert second.exists()


def test_frames_that_could_not_be_read_are_no_misses(
    tracker: TrackingRecipe, tmp_path: Path
) -> None:
    write_synthetic(tmp_path, SyntheticVideo(layout="mot", train_videos=0, val_videos=1, frames=8))
    (sequence,) = (tmp_path / "MOT17/test").iterdir()
    (sequence / "img1/000004.jpg").write_bytes(b"")
    skipping = override(tracker, ["data.on_bad_sample=skip"])
    scored = evaluate(skipping, data_root=tmp_path, checkpoint=None)
    assert isinstance(scored, TrackingEvaluation)
    rows = [line.split(",") for line in (sequence / "gt/gt.txt").read_text().splitlines()]
    asked = sum(row[0] != "4" and row[6] == "1" for row in rows)
    assert scored.flat()["gt_dets"] == asked < len(rows)
    assert any("000004.jpg" in line for line in scored.skipped)


def test_what_is_written_never_replaces_the_video(tracker: TrackingRecipe, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "street.mp4", size=(64, 64), frame_rate=10) as film:
        film.write(torch.zeros((3, 64, 64), dtype=torch.uint8))
    before = (tmp_path / "street.mp4").read_bytes()
    with pytest.raises(ValueError, match=r"street\.mp4 would be replaced by its own tracks"):
        track_video(tracker, tmp_path / "street.mp4", tmp_path)
    assert (tmp_path / "street.mp4").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["street.mp4"]


def test_reid_trains_on_the_size_a_tracker_will_embed(data_root: Path) -> None:
    recipe = override(
        load_recipe("reid_tiny_sample"), ["model.crop_size=32,16", "data.identities_per_batch=2"]
    )
    (batch, *_) = recipe.training_source(data_root).batches(seed=0, epoch=0, places=[0])
    assert batch.images.shape[2:] == (32, 16)
    with pytest.raises(ValueError, match=r"'data\.size' is now called 'model\.crop_size'"):
        override(recipe, ["data.size=(128, 64)"])


def test_a_cut_is_noted_and_tracking_goes_on(
    tracker: TrackingRecipe, data_root: Path, tmp_path: Path
) -> None:
    folder = next((data_root / "MOT17/test").iterdir())
    frames = sorted((folder / "img1").iterdir())[:3]
    for number, frame in enumerate(frames, start=1):
        Image.open(frame).save(tmp_path / f"{number}.png")
    Image.new("RGB", (320, 192)).save(tmp_path / "4.png")
    told: list[str] = []
    assert len(list(halftrack.track(tracker, tmp_path, say=told.append))) == 4
    assert told == [f"no camera motion aligned {tmp_path.name}/000003: taken as none"]


def test_missing_weights_say_which_recipe_makes_them() -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights of the detector at runs/.*train fast"):
        load_recipe(TRACKTOR).load_model(None)


def test_a_detectors_file_is_no_reid(tracker: TrackingRecipe) -> None:
    wrong = dataclasses.replace(tracker, reid_checkpoint=tracker.detector_checkpoint)
    with pytest.raises(ValueError, match=r"holds no ReID model: none of its keys ends in"):
        wrong.load_model(None)


def test_what_is_not_trained_or_does_not_track_says_so(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is put together from trained parts, faster"):
        train(load_recipe("tracktor_tiny_sample"), data_root=data_root, out=tmp_path)
    with pytest.raises(ValueError, match="does not track"):
        halftrack.track(load_recipe("reid_tiny_sample"), data_root)
    with pytest.raises(ValueError, match="result files are of a tracker"):
        score_results(load_recipe("reid_tiny_sample"), tmp_path, data_root=data_root)


def test_every_field_of_a_tracker_can_be_set() -> None:
    recipe = override(
        load_recipe(TRACKTOR),
        ["tracker.compatible=False", "camera_motion.levels=4", "data.detectors=FRCNN", "reid=None"],
    )
    assert not recipe.tracker.compatible
    assert recipe.camera_motion.levels == 4
    assert recipe.reid is None
    with pytest.raises(ValueError, match=r"the nearest are tracker\.num_frames_retain, "):
        override(recipe, ["tracker.frames_keep=3"])


def test_torchvisions_backbone_goes_into_detector_and_reid(
    monkeypatch: pytest.MonkeyPatch, data_root: Path
) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights, "get_state_dict", lambda *_, **__: state
    )
    wide = ["model.backbone.base_channels=64", "model.backbone.norm=batch"]
    for name in ("faster-rcnn_tiny_sample", "reid_tiny_sample"):
        recipe = override(load_recipe(name), [*wide, "backbone_weights=imagenet"])
        assert isinstance(recipe, FrameDetectionRecipe | ReIDRecipe)
        model = prepare_model(recipe.settled(data_root), say=lambda _: None)
        assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"])
