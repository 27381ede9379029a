"""SiamRPN++ on real video: a small one trained on all but the sequences it is scored on.

The folder given holds ``LaSOTBenchmark``, ``ILSVRC`` and ``MOT17`` as the official layouts have
them. What is trained on is laid out in ``OUT/data``, in the same layouts: sequences held out, and
videos that show the same scene, are not there at all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measure import machine
from PIL import Image, ImageDraw

from halftrack.data.mot import learned_rows, read_mot
from halftrack.data.sot import PairDataConfig, SotSequence, read_pair_set, read_sot
from halftrack.evaluation import TargetTruth, score_ope
from halftrack.layers import SiameseGeometry
from halftrack.recipes import SingleObjectRecipe, track, train
from halftrack.recipes.published import siamrpn
from halftrack.synthetic import SyntheticVideo, write_synthetic

# The ImageNet VID videos that look as if they were filmed beside a LaSOT sequence.
TWINS = {"car-1": ("car1a",), "motorcycle-2": ("moto2a",)}
EVERY = 4  # of so many frames one gives stills
PATCHES = 2  # in each, found in so many tries:
TRIES = 40

Boxes = npt.NDArray[np.float64]


def recipe(steps: int) -> SingleObjectRecipe:
    """The tiny recipe without batch statistics, on objects of real frames too.

    Sizes vary more than in the published recipe, and anchors farther off learn where the object is:
    in so few steps the boxes otherwise stay those of the anchors. Light varies too, as it does in
    no synthetic video.
    """
    tiny = siamrpn.tiny_sample()
    matching = replace(tiny.model.matching, positive_iou=0.5, negative_iou=0.4)
    return replace(
        tiny,
        name="siamese_rpn_real_video",
        model=replace(
            tiny.model,
            backbone=replace(tiny.model.backbone, norm="group"),
            matching=matching,
            box_weight=2.4,
        ),
        data=replace(
            tiny.data,
            training_sets=("lasot", "coco"),
            set_weights=(0.5, 0.5),
            positive_share=0.6,
            scale=(0.05, 0.3),
            colour_probability=(1.0, 1.0),
            grey_probability=0.5,
            brightness=(0.5, 0.5),
            pairs_per_epoch=steps * tiny.data.pairs_per_batch // tiny.training.epochs,
            cache_mb=512,
        ),
        training=replace(tiny.training, workers=1, log_every=100),
    )


def lay_out(data_root: Path, held_out: Sequence[str], folder: Path) -> None:
    """What is trained on: synthetic video, tracks of real video, and stills of its frames."""
    shutil.rmtree(folder, ignore_errors=True)
    write_synthetic(folder, SyntheticVideo(layout="sot", train_videos=60, val_videos=1))
    left_out = {*held_out, *(twin for name in held_out for twin in TWINS.get(name, ()))}
    stills: dict[Path, list[Boxes]] = {}
    for name, frames, boxes in real_tracks(data_root):
        if name not in left_out:
            write_track(folder / "LaSOTBenchmark" / "real" / f"real-{name}", frames, boxes)
            for file, box in list(zip(frames, boxes, strict=True))[::EVERY]:
                stills.setdefault(file, []).append(box)
    write_stills(folder / "coco", stills)


def real_tracks(data_root: Path) -> Iterator[tuple[str, list[Path], Boxes]]:
    """Each object of LaSOT, ImageNet VID and MOT17: a name, its frames, its boxes x, y, w, h."""
    config = PairDataConfig(lasot_split="all")
    for objects in (read_pair_set(config, name, data_root) for name in ("lasot", "vid")):
        for number, (first, stop) in enumerate(pairwise(objects.starts.tolist())):
            name = objects.video_names[objects.video[number]].rpartition("/")[2]
            boxes = objects.boxes_xyxy[first:stop].astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            yield name, [Path(objects.path(box)) for box in range(first, stop)], boxes
    for sequence in read_mot(data_root, "train", detectors="FRCNN"):
        people, _ = learned_rows(sequence)
        for person in np.unique(people.ids):
            own = people.select(people.ids == person)
            frames = [Path(sequence.path(number)) for number in own.frame_numbers]
            yield f"{sequence.name}-{person}", frames, own.boxes_ltwh


def write_track(folder: Path, frames: Sequence[Path], boxes_xywh: Boxes) -> None:
    """A sequence in LaSOT's layout, its frames linked."""
    (folder / "img").mkdir(parents=True)
    for number, file in enumerate(frames, start=1):
        (folder / "img" / f"{number:08d}.jpg").symlink_to(file.resolve())
    np.savetxt(folder / "groundtruth.txt", boxes_xywh, delimiter=",", fmt="%.3f")
    for name in ("full_occlusion", "out_of_view"):
        (folder / f"{name}.txt").write_text(",".join("0" * len(frames)) + "\n")


def write_stills(folder: Path, stills: Mapping[Path, Sequence[Boxes]]) -> None:
    """Single frames in COCO's layout: their objects, and patches, as anything can be followed."""
    rng = np.random.default_rng(0)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    (folder / "train2017").mkdir(parents=True)
    for number, (file, objects) in enumerate(sorted(stills.items())):
        link = folder / "train2017" / f"{number:06d}.jpg"
        link.symlink_to(file.resolve())
        pixels = np.asarray(Image.open(file).convert("L"), dtype=np.float32)
        height, width = pixels.shape
        images.append({"id": number, "file_name": link.name, "width": width, "height": height})
        for box in (*objects, *islice(textured(pixels, rng), PATCHES)):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [float(value) for value in box],
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                }
            )
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_train2017.json").write_text(
        json.dumps(
            {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": 1, "name": "thing"}],
            }
        )
    )


def textured(grey: npt.NDArray[np.float32], rng: np.random.Generator) -> Iterator[Boxes]:
    """Boxes x, y, w, h of patches, those that are not all alike inside."""
    height, width = grey.shape
    for _ in range(TRIES):
        side = min(height, width) * 2.0 ** rng.uniform(-4, -1.5)
        w, h = side * 2.0 ** rng.uniform(-0.4, 0.4, size=2)
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        if grey[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1].std() > 25:
            yield np.array([x, y, w, h])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/lasot"))
    parser.add_argument("--held-out", nargs="+", default=["bag-1", "car-1"])
    parser.add_argument("--precisions", nargs="+", default=["fp16", "fp32"])
    parser.add_argument("--steps", type=int, default=4500)
    args = parser.parse_args()
    print(machine())
    args.out.mkdir(parents=True, exist_ok=True)
    lay_out(args.data_root, args.held_out, args.out / "data")
    sequences = {each.name: each for each in read_sot(args.data_root, "LaSOT", "test")}
    for precision in args.precisions:
        chosen = recipe(args.steps).with_precision(precision)
        out = args.out / precision
        shutil.rmtree(out, ignore_errors=True)
        start = time.perf_counter()
        result = train(chosen, data_root=args.out / "data", out=out)
        minutes = (time.perf_counter() - start) / 60
        print(f"{precision}: {minutes:.1f} min, {result.skipped} of {result.steps} skipped")
        for name in args.held_out:
            sequence = sequences[name]
            boxes = tracked(chosen, sequence, out / "best.pth")
            print(f"{name}: a box that never moves, {told(still(sequence))}")
            print(f"{name}, {precision}: {told(boxes_scored(sequence, boxes))}", flush=True)
            draw(sequence, boxes, args.out / f"{name}_{precision}.png")


def tracked(chosen: SingleObjectRecipe, sequence: SotSequence, checkpoint: Path) -> Boxes:
    """The box of every frame, xyxy, in regions of the published size: larger than learnt from."""
    chosen = replace(chosen, model=replace(chosen.model, geometry=SiameseGeometry()))
    first = tuple(sequence.first_box_xyxy.tolist())
    folder = Path(sequence.path(0)).parent
    frames = track(chosen, folder, init_box_xyxy=first, checkpoint=checkpoint)
    return np.stack([tracks.boxes_xyxy[0].double().numpy() for _, tracks in frames])


def still(sequence: SotSequence) -> dict[str, float]:
    """Scores of the first box, kept for every frame."""
    return boxes_scored(sequence, np.repeat(sequence.first_box_xyxy[None], len(sequence), axis=0))


def boxes_scored(sequence: SotSequence, boxes_xyxy: Boxes) -> dict[str, float]:
    """Success under both rules, and precision."""
    truth = TargetTruth(name="it", boxes_xyxy=sequence.truth(), absent=sequence.absent)
    scores = score_ope([truth], {"it": boxes_xyxy}).flat()
    official = score_ope([truth], {"it": boxes_xyxy}, rule="official")
    return scores | {"success, official rule": official.mean.success}


def told(scores: dict[str, float]) -> str:
    return json.dumps({name: round(value, 1) for name, value in scores.items()})


def draw(sequence: SotSequence, boxes_xyxy: Boxes, path: Path) -> None:
    """Twelve frames with the truth (green) and the track (red), to be looked at."""
    shown = np.linspace(0, len(sequence) - 1, 12).round().astype(int).tolist()
    truth = sequence.truth()
    pictures = []
    for frame in shown:
        picture = Image.open(sequence.path(frame)).convert("RGB")
        pen = ImageDraw.Draw(picture)
        pen.rectangle(tuple(truth[frame]), outline="lime", width=2)
        pen.rectangle(tuple(boxes_xyxy[frame]), outline="red", width=2)
        pictures.append(picture)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (4 * width, 3 * height))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % 4 * width, place // 4 * height))
    sheet.thumbnail((1600, 1200))
    sheet.save(path)


if __name__ == "__main__":
    main()
