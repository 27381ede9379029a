"""Tracktor's published recipes, of a detector and a ReID; one small enough for a laptop."""

from __future__ import annotations

from dataclasses import replace

from halftrack.data.mot import Benchmark
from halftrack.precision import Precision
from halftrack.recipes.kinds.multi_object import TrackingRecipe
from halftrack.recipes.published import faster_rcnn, reid
from halftrack.recipes.published.faster_rcnn import PrecisionName
from halftrack.tracking import EccMotion, TracktorConfig

__all__ = ["published", "searched", "tiny_sample"]


def published(
    benchmark: Benchmark = "MOT17",
    precision: PrecisionName = "fp32",
    *,
    public: bool = False,
    whole: bool = False,
) -> TrackingRecipe:
    """Tracktor on half-val or on the test set, with its own detections or the public ones.

    The published MOT17 rows, private: MOTA 64.1, IDF1 66.9 in fp32; 64.7 and 66.6 in fp16.

    Args:
        benchmark: the data set.
        precision: of both parts.
        public: take the boxes of the public detector.
        whole: a detector of all training frames, on the official test set. Its ground truth is the
            organisers' alone: here there are result files, no scores.

    Source: MMTracking 0.14, configs/mot/tracktor, where the configs have the recipes' names; the
    scores are the table's in its README.md.
    """
    detector = faster_rcnn.published(benchmark, precision, whole=whole)
    embedder = reid.published(benchmark, precision)
    detections = "public" if public else "private"
    half = "" if whole else "-half"
    return TrackingRecipe(
        name=f"tracktor_{detector.name.removesuffix('-half')}-{detections}{half}",
        detector=detector.model,
        detector_recipe=detector.name,
        detector_checkpoint=f"runs/{detector.name}_{precision}/best.pth",
        reid=embedder.model,
        reid_recipe=embedder.name,
        reid_checkpoint=f"runs/{embedder.name}_{precision}/best.pth",
        tracker=TracktorConfig(
            detection_score=0.5,
            regression_score=0.5,
            regression_nms_iou=0.6,
            new_track_iou=0.3,
            reid_num_samples=10,
            reid_distance=2.0,
            reid_iou=0.2,
            num_frames_retain=10,
            compatible=True,
        ),
        # cv2.findTransformECC's settings in the reference, at full size alone.
        camera_motion=EccMotion(model="euclidean", iterations=100, tolerance=1e-5, levels=1),
        data=replace(
            detector.data, public=public, test_split="test" if whole else detector.data.test_split
        ),
        precision=detector.precision,
    )


def searched() -> TrackingRecipe:
    """Tracktor on MOT17's half-val with public detections, and the settings to search over.

    Source: MMTracking 0.14, tracktor_faster-rcnn_r50_fpn_4e_mot17-public-half_search.py, which its
    tools/mot_param_search.py reads; its lists of values are ``search`` here.
    """
    base = published(public=True)
    return replace(
        base,
        name=f"{base.name}_search",
        search=(
            ("tracker.detection_score", (0.4, 0.5, 0.6)),
            ("tracker.regression_score", (0.4, 0.5, 0.6)),
            ("tracker.new_track_iou", (0.3, 0.5)),
        ),
    )


def tiny_sample() -> TrackingRecipe:
    """Tracktor of the two tiny ones, on the synthetic video."""
    detector, embedder = faster_rcnn.tiny_sample(), reid.tiny_sample()
    return TrackingRecipe(
        name="tracktor_tiny_sample",
        detector=detector.model,
        detector_recipe=detector.name,
        detector_checkpoint=f"runs/{detector.name}_fp32/best.pth",
        reid=embedder.model,
        reid_recipe=embedder.name,
        reid_checkpoint=f"runs/{embedder.name}_fp32/best.pth",
        camera_motion=EccMotion(levels=2),
        data=detector.data,
        precision=Precision("fp32"),
    )
