"""Tracktor's settings tuned on real video: what 120 trials cost, and what they gain elsewhere.

The folder given holds ``MOT17/train/PETS09-S2L1`` as the official layout has it. Detector and ReID
learn from its frames 1 to 100, settings are tuned on 101 to 200 and scored on 201 to 398.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pets
from measure import machine

from halftrack.data import Progress
from halftrack.recipes import (
    FrameDetectionRecipe,
    Recipe,
    ReIDRecipe,
    TrackingRecipe,
    evaluate,
    train,
)
from halftrack.studies.tune.plan import plan_search
from halftrack.studies.tune.run import Tuned, run_tuning
from halftrack.tracking import TracktorConfig

TRAINING = range(
    1, 200
)  # half-train are its first 100; the rest is validated on, and not chosen by
TUNED = range(101, 201)
SCORED = range(201, 399)
SIZE = (480, 360)
FIELDS = (
    "tracker.detection_score=0.2:0.9",
    "tracker.regression_score=0.1:0.8",
    "tracker.new_track_iou=0.1:0.6",
    "tracker.reid_distance=1:6",
    "tracker.linear_motion=0:5",
    "tracker.num_frames_retain=5:50",
)
SHOWN = ("idf1", "mota", "hota", "fp", "fn", "idsw")


def write_part(data_root: Path, out: Path, numbers: range) -> None:
    """A data folder of its own for some frames of the sequence, counted anew from 1."""
    source = data_root / "MOT17/train" / pets.SEQUENCE
    folder = out / "MOT17/train" / pets.SEQUENCE
    for part in ("img1", "gt", "det"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, old in enumerate(numbers, start=1):
        image = folder / f"img1/{number:06d}.jpg"
        image.unlink(missing_ok=True)
        image.symlink_to((source / f"img1/{old:06d}.jpg").resolve())
    for table in ("gt/gt.txt", "det/det.txt"):
        rows = []
        for line in (source / table).read_text().split():
            first, _, rest = line.partition(",")
            if int(first) in numbers:
                rows.append(f"{int(first) - numbers.start + 1},{rest}\n")
        (folder / table).write_text("".join(rows))
    facts = (source / "seqinfo.ini").read_text().replace("=398", f"={len(numbers)}")
    (folder / "seqinfo.ini").write_text(facts)


def detector() -> FrameDetectionRecipe:
    """The detector of ``pets.py``, at a smaller size and trained shorter."""
    recipe = pets.detector()
    return replace(
        recipe,
        name="faster-rcnn_tune_pets",
        data=replace(recipe.data, image_scale=SIZE, crop_size=SIZE[::-1]),
        training=replace(
            recipe.training, epochs=7, milestones=(5, 6), evaluate_every=7, warmup_steps=60
        ),
    )


def reid() -> ReIDRecipe:
    """The ReID of ``pets.py``; six people walk through the frames it learns from."""
    recipe = pets.reid()
    few = replace(recipe.data, identities_per_batch=4, crops_per_identity=4)
    return replace(recipe, name="reid_tune_pets", data=few)


def train_parts(out: Path) -> None:
    """Train both parts, where that is not done yet."""
    for name, recipe in (("detector", detector()), ("reid", reid())):
        folder = out / f"{name}_fp32"
        if (folder / "best.pth").exists():
            continue
        start = time.perf_counter()
        result = train(recipe, data_root=out / "train", out=folder)
        print(name, result.metrics, f"{(time.perf_counter() - start) / 60:.1f} min")


def tracker(out: Path) -> TrackingRecipe:
    """Tracktor of both, on a whole folder, with the published settings."""
    recipe = pets.tracker(out, "fp32", public=False)
    return replace(
        recipe,
        name="tracktor_tune_pets",
        detector=detector().model,
        data=replace(detector().data, test_split="train"),
        tracker=TracktorConfig(),
    )


def search(out: Path, trials: int, sampler: str) -> Tuned:
    """Tune on the frames in the middle; filling the cache is timed apart."""
    recipe = tracker(out)
    plan = plan_search(recipe, FIELDS, trials, metric="idf1", sampler=sampler)
    folder = out / f"search_{sampler}"
    shutil.rmtree(folder, ignore_errors=True)
    times = []

    @contextmanager
    def timed(_: str) -> Iterator[Progress]:
        start = time.perf_counter(), time.process_time()
        yield lambda done, total: None
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))

    found = run_tuning(
        plan, data_root=out / "tune", checkpoint=None, out=folder, cache_bytes=10**10, bar=timed
    )
    each = sorted(trial.seconds for trial in found.trials)
    for (wall, processor), what in zip(times, ("cache", f"{len(each)} trials"), strict=True):
        print(f"{sampler}, {what}: {wall:.0f} s, {processor:.0f} s of processor time")
    print(f"a trial takes {each[0]:.2f} to {each[-1]:.2f} s, median {each[len(each) // 2]:.2f}")
    for line in (*found.write(folder), *found.notes(), " ".join(found.settings)):
        print(line)
    return found


def compare(out: Path, recipes: dict[str, Recipe]) -> None:
    """Scores of settings on the frames that they were tuned on, and on later ones."""
    for split in ("tune", "score"):
        for name, recipe in recipes.items():
            start = time.process_time()
            scored = evaluate(recipe, data_root=out / split, checkpoint=None)
            chosen = {key: round(scored.flat()[key], 4) for key in SHOWN}
            seconds = time.process_time() - start
            print(f"{split}, {name}:", json.dumps(chosen), f"{seconds:.0f} s of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/tune_pets"))
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--samplers", nargs="+", default=["optuna", "grid"])
    args = parser.parse_args()
    print(machine())
    for name, numbers in (("train", TRAINING), ("tune", TUNED), ("score", SCORED)):
        write_part(args.data_root, args.out / name, numbers)
    train_parts(args.out)
    published = tracker(args.out)
    by_hand = replace(published, tracker=pets.tracker(args.out, "fp32", public=False).tracker)
    recipes: dict[str, Recipe] = {"published settings": published, "those of pets.py": by_hand}
    for sampler in args.samplers:
        found = search(args.out, args.trials, sampler)
        recipes[f"tuned by {sampler}"] = found.tuned
    compare(args.out, recipes)


if __name__ == "__main__":
    main()
