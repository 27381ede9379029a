"""Jobs of a quickstart: film synthetic video, train and score each task, rehearse one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from halftrack.data import load_image
from halftrack.data.mot import MotSequences
from halftrack.data.sot import read_sot
from halftrack.data.vid import TestVideos
from halftrack.evaluation import OpeScores
from halftrack.precision.loss_scale import scale_words
from halftrack.recipes import (
    DetectionEvaluation,
    SingleObjectEvaluation,
    TrainedRecipe,
    evaluate,
    train,
)
from halftrack.rehearsing.answers import must_change
from halftrack.rehearsing.page import write_page
from halftrack.report.drawing import draw_detections
from halftrack.report.track_video import track_video
from halftrack.studies.memory.step import step_memory
from halftrack.studies.quickstart.plan import Plan
from halftrack.studies.rehearsal.rehearsable import rehearsable
from halftrack.studies.rehearsal.rehearse import rehearse
from halftrack.synthetic import write_synthetic
from halftrack.training import TrainingResult

__all__ = ["Job", "Result", "jobs_of"]

_PICTURES = 4
# Tracktor's ReID model is trained in no time, and so the first score is there soon.
_ORDER = ("mot", "vid", "sot")
# Seconds of a task's training in fp32 with its scores on one core, and of half precision as a
# multiple: for the time that is left, to which only their ratios matter.
_TYPICAL = {"video": 10.0, "vid": 50.0, "mot": 60.0, "sot": 60.0, "rehearsal": 20.0}
_HALF = 1.6


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a job."""

    headline: str
    """The score that sums it up, or what was made."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Scores by name, as they are shown."""
    costs: Mapping[str, str] = field(default_factory=dict)
    """Memory, time, skipped steps and loss scales by name, as they are shown."""
    files: tuple[Path, ...] = ()
    """Pictures, films and pages that were made."""
    ope: OpeScores | None = None
    """Curves of one-pass evaluation; None for other tasks."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of the quickstart that one process does in one go."""

    name: str
    """Unique name, as it is shown."""
    work: Callable[[], Result]
    """Does it, in any process."""
    task: str
    """Task that it belongs to."""
    precision: str = ""
    """Precision that it trains in; empty for other jobs."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that must be done before."""
    typical: float
    """Seconds that it takes, relative to the others."""
    logs: Mapping[str, Path] = field(default_factory=dict)
    """The ``log.jsonl`` of each of its trainings, in their order."""


def jobs_of(plan: Plan, task: str, out: Path, *, seed: int) -> list[Job]:
    """The jobs of one task or of ``all``, in the order in which they should begin.

    Args:
        plan: recipes, video and precisions.
        task: vid, mot, sot or all.
        out: the folder of data and results.
        seed: the origin of all randomness.
    """
    tasks = _ORDER if task == "all" else (task,)
    jobs = []
    for name in tasks:
        film = Job(
            name=f"{name} video",
            task=name,
            work=partial(_film, plan, name, out, seed),
            typical=_TYPICAL["video"],
        )
        jobs.append(film)
        title, work, parts = _TRAININGS[name]
        for precision in plan.precisions:
            logs = {part: out / name / f"{part}_{precision}" / "log.jsonl" for part in parts}
            jobs.append(
                Job(
                    name=f"{title} {precision}",
                    task=name,
                    precision=precision,
                    work=partial(work, plan, out, precision, seed),
                    needs=(film.name,),
                    typical=_TYPICAL[name] * (1.0 if precision == "fp32" else _HALF),
                    logs=logs,
                )
            )
    rehearsed = "vid" if "vid" in tasks else task
    rehearsal = Job(
        name="rehearsal",
        task=rehearsed,
        work=partial(_rehearse, plan, rehearsed, out, seed),
        needs=(f"{rehearsed} video",),
        typical=_TYPICAL["rehearsal"],
    )
    return [*jobs, rehearsal]


def _film(plan: Plan, task: str, out: Path, seed: int) -> Result:
    settings = replace(plan.video[task], seed=seed)
    # Each layout under a root of its own: two processes may film at once.
    write_synthetic(out / "data" / task, settings, overwrite=True)
    count = settings.train_videos + settings.val_videos
    return Result(headline=f"{count} videos of {settings.frames} frames")


def _vid(plan: Plan, out: Path, precision: str, seed: int) -> Result:
    """SELSA: video object detection."""
    recipe, data_root, start = plan.vid.with_precision(precision), out / "data/vid", time.time()
    result = _trained(recipe, data_root, out / f"vid/selsa_{precision}", seed)
    files: list[Path] = []
    if precision == plan.precisions[-1]:
        best = out / f"vid/selsa_{precision}/best.pth"
        found = evaluate(recipe, data_root=data_root, checkpoint=best)
        assert isinstance(found, DetectionEvaluation)
        files = _draw(plan, found, data_root, out / "vid")
    scores = {
        "AP50": f"{result.metrics['coco_ap50']:.3f}",
        "VOC AP50": f"{result.metrics['voc_ap50']:.3f}",
    }
    return Result(
        headline=f"AP50 {scores['AP50']}",
        scores=scores,
        costs=_costs(recipe, data_root, [result], start),
        files=tuple(files),
    )


def _mot(plan: Plan, out: Path, precision: str, seed: int) -> Result:
    """Tracktor: multi-object tracking by a detector and a ReID model."""
    data_root, start = out / "data/mot", time.time()
    parts: dict[str, TrainedRecipe] = {
        "reid": plan.embedder.with_precision(precision),
        "detector": plan.detector.with_precision(precision),
    }
    folders = {part: out / f"mot/{part}_{precision}" for part in parts}
    results = {
        part: _trained(recipe, data_root, folders[part], seed) for part, recipe in parts.items()
    }
    tracker = plan.tracker.with_precision(precision).with_parts(
        detector=str(folders["detector"] / "best.pth"), reid=str(folders["reid"] / "best.pth")
    )
    found = evaluate(tracker, data_root=data_root, checkpoint=None).flat()
    files: tuple[Path, ...] = ()
    if precision == plan.precisions[-1]:
        first = MotSequences.open(tracker.data, data_root)[0]
        files = track_video(tracker, first.record.folder, out / "mot").files
    scores = {name.upper(): f"{found[name]:.3f}" for name in ("mota", "idf1", "hota")}
    scores |= {
        "IDSW": f"{found['idsw']:.0f}",
        "AP50": f"{results['detector'].metrics['coco_ap50']:.3f}",
        "ReID mAP": f"{results['reid'].metrics['mAP']:.3f}",
    }
    return Result(
        headline=f"MOTA {scores['MOTA']}",
        scores=scores,
        costs=_costs(parts["detector"], data_root, list(results.values()), start),
        files=files,
    )


def _sot(plan: Plan, out: Path, precision: str, seed: int) -> Result:
    """SiamRPN++: single-object tracking."""
    recipe, data_root, start = plan.sot.with_precision(precision), out / "data/sot", time.time()
    folder = out / f"sot/siamrpn_{precision}"
    result = _trained(recipe, data_root, folder, seed)
    best = folder / "best.pth"
    found = evaluate(recipe, data_root=data_root, checkpoint=best)
    assert isinstance(found, SingleObjectEvaluation)
    ope = found.metrics[recipe.rule].mean
    files: tuple[Path, ...] = ()
    if precision == plan.precisions[-1]:
        first = read_sot(data_root, recipe.benchmark)[0]
        video, box = Path(first.path(0)).parent, tuple(first.first_box_xyxy.tolist())
        files = track_video(recipe, video, out / "sot", init_box=box, checkpoint=best).files
    scores = {name: f"{value:.1f}" for name, value in ope.row().items()}
    return Result(
        headline=f"success {ope.success:.1f}",
        scores=scores,
        costs=_costs(recipe, data_root, [result], start),
        files=files,
        ope=ope,
    )


_TRAININGS: dict[str, tuple[str, Callable[[Plan, Path, str, int], Result], Sequence[str]]] = {
    "vid": ("SELSA", _vid, ("selsa",)),
    "mot": ("Tracktor", _mot, ("reid", "detector")),
    "sot": ("SiamRPN++", _sot, ("siamrpn",)),
}
"""By task: the method's name, the job, and the parts that it trains."""


def _trained(recipe: TrainedRecipe, data_root: Path, folder: Path, seed: int) -> TrainingResult:
    result = train(recipe, data_root=data_root, out=folder, seed=seed)
    if result.interrupted is not None:
        raise KeyboardInterrupt
    return result


def _costs(
    recipe: TrainedRecipe, data_root: Path, results: Sequence[TrainingResult], start: float
) -> dict[str, str]:
    steps, skipped = (sum(getattr(r, key) for r in results) for key in ("steps", "skipped"))
    return {
        "live MiB": f"{step_memory(recipe, data_root) / 2**20:.1f}",
        "time (s)": f"{time.time() - start:.0f}",
        "skipped": f"{skipped} of {steps}",
        "loss scale": " / ".join(scale_words(result.loss_scale) for result in results),
    }


def _draw(plan: Plan, found: DetectionEvaluation, data_root: Path, out: Path) -> list[Path]:
    """The middle frames of a few videos with what was found in them."""
    files: list[Path] = []
    position = 0
    for number, video in enumerate(TestVideos.open(plan.vid.data, data_root)):
        middle = len(video) // 2
        if number < _PICTURES:
            files.append(out / f"frame_{number}.png")
            picture = draw_detections(
                load_image(video.path(middle)),
                found.detections[position + middle],
                class_names=plan.vid.data.class_names,
            )
            picture.save(files[-1])
        position += len(video)
    return files


def _rehearse(plan: Plan, task: str, out: Path, seed: int) -> Result:
    """The first steps of a run in fp16, with the ranges of all values."""
    recipes: dict[str, TrainedRecipe] = {"vid": plan.vid, "mot": plan.detector, "sot": plan.sot}
    found = rehearse(
        rehearsable(recipes[task], "fp16"),
        data_root=out / "data" / task,
        out=out / "rehearsal",
        steps=plan.rehearsal_steps,
        every=plan.rehearsal_steps,
        seed=seed,
    )
    if found.interrupted:
        raise KeyboardInterrupt
    count = len(must_change(found))
    return Result(
        headline=f"{count} things must change" if count else "nothing must change",
        files=(write_page(found, out / "rehearsal"),),
    )
