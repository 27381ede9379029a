"""Real video: a tiny SELSA trained in fp16 for at most ten minutes on a user's ImageNet VID tree.

    python benchmarks/real_frames.py DATA_ROOT --out runs/real_frames [--epochs 6]

Trains on every frame of the training snippets and scores the validation snippets over the classes
present there. Draws frames of each validation snippet.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

from measure import machine

from halftrack.data import load_image
from halftrack.data.vid import IMAGENET_VID_CLASSES, TestVideos
from halftrack.recipes import (
    DetectionEvaluation,
    VideoDetectionRecipe,
    evaluate,
    train,
)
from halftrack.recipes.published import selsa
from halftrack.report import draw_detections


def recipe(precision: str, *, epochs: int) -> VideoDetectionRecipe:
    """The tiny SELSA for real objects: 30 classes, anchors of every shape, jittered scales."""
    tiny = selsa.tiny_sample()
    scales, ratios = (1.5, 2.25, 3.5, 5.0, 7.5, 11.0), (0.5, 1.0, 2.0)
    model = replace(
        tiny.model,
        backbone=replace(tiny.model.backbone, norm="group"),
        rpn=replace(tiny.model.rpn, scales=scales, ratios=ratios, test_post_nms_topk=150),
        roi_head=replace(tiny.model.roi_head, num_classes=len(IMAGENET_VID_CLASSES)),
    )
    data = replace(
        tiny.data,
        classes=IMAGENET_VID_CLASSES,
        key_frames="all",
        image_scale=(480, 288),
        scale_jitter=(0.4, 1.2),
    )
    training = replace(
        tiny.training,
        epochs=epochs,
        milestones=(max(2 * epochs // 3, 1),),
        evaluate_every=epochs,
        log_every=50,
    )
    chosen = replace(tiny, name="selsa_tiny_real_frames", model=model, data=data, training=training)
    return chosen.with_precision(precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    chosen = recipe(args.precision, epochs=args.epochs)
    result = train(chosen, data_root=args.data_root, out=args.out, seed=args.seed)
    minutes = (time.perf_counter() - start) / 60
    scored = evaluate(chosen, data_root=args.data_root, checkpoint=args.out / "best.pth")
    assert isinstance(scored, DetectionEvaluation)
    metrics = scored.metrics
    print(
        f"\n{args.precision}, {result.steps} steps in {minutes:.1f} min with one evaluation, "
        f"{result.skipped} skipped, loss scale {result.loss_scale:g}"
    )
    print(
        f"AP50 (COCO) {metrics.coco_ap50:.3f}, AP50 (VOC) {metrics.voc_ap50:.3f} "
        "over the classes present"
    )
    for name, value in metrics.coco_ap50_per_class.items():
        if not math.isnan(value):
            print(f"  {name}: COCO {value:.3f}, VOC {metrics.voc_ap50_per_class[name]:.3f}")
    position = 0
    for number, video in enumerate(TestVideos.open(chosen.data, args.data_root)):
        for frame in (len(video) // 4, 3 * len(video) // 4):
            found = scored.detections[position + frame]
            image = load_image(video.path(frame))
            picture = draw_detections(
                image, found, class_names=chosen.data.class_names, threshold=0.3
            )
            picture.save(args.out / f"video_{number}_frame_{frame}.png")
        position += len(video)
    print(f"frames drawn in {args.out}\n{machine()}")


if __name__ == "__main__":
    main()
