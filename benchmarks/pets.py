"""Tracktor on real video: small parts trained on the first half of PETS, scored on the rest.

The folder given holds ``MOT17/train/PETS09-S2L1`` as the official layout has it. Half-train are its
first 200 frames, half-val frames 201 to 398: the same people and camera, later.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import machine

from halftrack.data import load_image
from halftrack.data.mot import MotSequences
from halftrack.evaluation import TrackRows
from halftrack.frames import Tracks
from halftrack.recipes import (
    FrameDetectionRecipe,
    ReIDRecipe,
    TrackingEvaluation,
    TrackingRecipe,
    evaluate,
    train,
)
from halftrack.recipes.published import faster_rcnn, tracktor
from halftrack.recipes.published import reid as published_reid
from halftrack.report import Trails, draw_tracks
from halftrack.tracking import TracktorConfig

SEQUENCE = "PETS09-S2L1"
SIZE = (640, 480)


def detector() -> FrameDetectionRecipe:
    """The tiny detector with anchors as tall as people are."""
    tiny = faster_rcnn.tiny_sample()
    return replace(
        tiny,
        name="faster-rcnn_pets",
        model=replace(tiny.model, rpn=replace(tiny.model.rpn, scales=(5.0, 7.0), ratios=(2.5,))),
        data=replace(
            tiny.data,
            training_split="half-train",
            test_split="half-val",
            image_scale=SIZE,
            crop_size=SIZE[::-1],
        ),
        training=replace(
            tiny.training, epochs=12, milestones=(9, 11), evaluate_every=12, warmup_steps=100
        ),
    )


def reid() -> ReIDRecipe:
    """The tiny ReID on crops of half-train alone."""
    tiny = published_reid.tiny_sample()
    size = (96, 48)
    return replace(
        tiny,
        name="reid_pets",
        model=replace(tiny.model, crop_size=size),
        data=replace(tiny.data, split="half-train", max_crops=40),
        training=replace(tiny.training, epochs=2, milestones=(1,), gamma=0.1, evaluate_every=2),
    )


def tracker(out: Path, precision: str, *, public: bool) -> TrackingRecipe:
    """Tracktor of both, as trained in one precision."""
    tiny = tracktor.tiny_sample().with_precision(precision)
    parts = detector()
    return replace(
        tiny,
        name="tracktor_pets",
        detector=parts.model,
        detector_checkpoint=str(out / f"detector_{precision}" / "best.pth"),
        reid=reid().model,
        reid_checkpoint=str(out / f"reid_{precision}" / "best.pth"),
        data=replace(parts.data, public=public),
        # At 7 frames a second people walk out of their boxes, and the camera stands on a mast. The
        # embeddings of one person are 1 to 3 apart here, the published limit is 2.
        camera_motion=None,
        tracker=TracktorConfig(linear_motion=3, reid_distance=4.0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/pets"))
    parser.add_argument("--precisions", nargs="+", default=["fp16", "fp32"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print(machine())
    found: dict[str, TrackRows] = {}
    for precision in args.precisions:
        start = time.perf_counter()
        for name, recipe in (("detector", detector()), ("reid", reid())):
            folder = args.out / f"{name}_{precision}"
            shutil.rmtree(folder, ignore_errors=True)
            result = train(recipe.with_precision(precision), data_root=args.data_root, out=folder)
            print(name, precision, result.metrics, f"{result.skipped} of {result.steps} skipped")
        print(
            f"{precision}: {(time.perf_counter() - start) / 60:.1f} min of training and its scores"
        )
        for public in (False, True):
            label = f"{precision}, {'public' if public else 'private'} detections"
            chosen = tracker(args.out, precision, public=public)
            scored = evaluate(chosen, data_root=args.data_root, checkpoint=None)
            assert isinstance(scored, TrackingEvaluation)
            print(label, json.dumps({k: round(v, 4) for k, v in scored.flat().items()}))
            for line in scored.skipped:
                print(line)
            if not public:
                found[precision] = scored.results[SEQUENCE]
    draw(args.data_root, found, args.out)
    if "fp16" in found:
        compare(args.data_root, args.out)


def compare(data_root: Path, out: Path) -> None:
    """Tracks of the fp16 weights computed in fp16 and in fp32: which ids differ, and where."""
    half = tracker(out, "fp16", public=False)
    rows = []
    for recipe in (half, half.with_precision("fp32")):
        scored = evaluate(recipe, data_root=data_root, checkpoint=None)
        assert isinstance(scored, TrackingEvaluation)
        rows.append(scored.results[SEQUENCE])
        print(recipe.precision.name, "of the fp16 weights", round(scored.flat()["mota"], 4))
    numbers = np.unique(np.concatenate([each.frame_numbers for each in rows]))
    differ = [
        int(number)
        for number in numbers
        if len({tuple(sorted(each.ids[each.frame_numbers == number])) for each in rows}) > 1
    ]
    print(f"frames whose ids differ between fp16 and fp32: {len(differ)} of {len(numbers)}")
    if differ:
        for each, name in zip(rows, ("fp16", "fp32"), strict=True):
            chosen = each.frame_numbers == differ[0]
            told = zip(
                each.ids[chosen], each.boxes_xyxy[chosen].round(1), each.scores[chosen], strict=True
            )
            print(f"first at {differ[0]}, {name}:", *(f"{i} {b} {s:.4f}" for i, b, s in told))


def draw(data_root: Path, found: dict[str, TrackRows], out: Path) -> None:
    """Three frames of each run, to be looked at."""
    sequence = MotSequences.open(detector().data, data_root)[0]
    for precision, rows in found.items():
        trails = Trails()
        for number in sequence.frame_numbers:
            chosen = rows.frame_numbers == number

            tracks = Tracks(
                ids=torch.from_numpy(rows.ids[chosen]),
                boxes_xyxy=torch.from_numpy(rows.boxes_xyxy[chosen]).float(),
                scores=torch.from_numpy(rows.scores[chosen]).float(),
                labels=torch.zeros(int(chosen.sum()), dtype=torch.int64),
            )
            trails.add(tracks)
            if number in (230, 300, 370):
                image = load_image(sequence.path(number))
                draw_tracks(image, tracks, trails=trails).save(out / f"{precision}_{number}.png")


if __name__ == "__main__":
    main()
