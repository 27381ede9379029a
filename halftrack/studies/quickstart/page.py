"""Page of a quickstart: scores, curves, frames and films, with links to everything else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from halftrack.rehearsing.html import document, figure, paragraph, table
from halftrack.rehearsing.svg import curves, legend
from halftrack.studies.quickstart.jobs import Job, Result
from halftrack.studies.quickstart.plan import Plan
from halftrack.training.files.checkpoint import code_versions
from halftrack.training.files.log_file import read_log

__all__ = ["TITLES", "Found", "page", "rows_of", "write_page"]

Found = Sequence[tuple[Job, Result]]
"""Jobs that were done, and their results."""

TITLES = {
    "vid": "Video object detection: SELSA",
    "mot": "Multi-object tracking: Tracktor",
    "sot": "Single-object tracking: SiamRPN++",
}
"""Title of each task."""

_NEXT = {
    "Rehearse a published recipe": "halftrack rehearse selsa_faster_rcnn_r50_dc5_1x_imagenetvid",
    "Plan the memory of its run": "halftrack plan selsa_faster_rcnn_r50_dc5_1x_imagenetvid",
    "List all recipes": "halftrack recipes",
    "Compare fp16 with fp32 over seeds": "halftrack parity RECIPE --data-root FOLDER",
}


def write_page(found: Found, plan: Plan, out: Path, *, seed: int, seconds: float) -> Path:
    """Write ``index.html``, with pictures inside it and films beside it; returns its path."""
    path = out / "index.html"
    path.write_text(page(found, plan, out, seed=seed, seconds=seconds), encoding="utf-8")
    return path


def page(found: Found, plan: Plan, out: Path, *, seed: int, seconds: float) -> str:
    """The page as text.

    Args:
        found: the jobs and their results.
        plan: what was done.
        out: the folder that links are relative to.
        seed: the origin of all randomness.
        seconds: time that all of it took.
    """
    done = {job.task for job, _ in found}
    tasks = [task for task in TITLES if task in done]
    by_task = {task: [(j, r) for j, r in found if j.task == task and j.precision] for task in tasks}
    body = [*_about(tasks, plan, seed), '<div class="verdict"><strong>On unseen video</strong>']
    body += [table([_headline(runs) for runs in by_task.values()]), "</div>"]
    for task, runs in by_task.items():
        body += [f"<h2>{escape(TITLES[task])}</h2>", table(rows_of(runs))]
        body += ['<div class="charts">', *_charts(runs), *_shown(runs, out), "</div>"]
    body += _more(found, out)
    versions = ", ".join(f"{name} {version}" for name, version in code_versions().items())
    body.append(paragraph(f"{versions}; seed {seed}; {seconds:.0f} s.", kind="soft"))
    return document("halftrack quickstart", body)


def rows_of(runs: Found) -> list[dict[str, str]]:
    """Scores and costs of a task's runs: a row each, with a column for every precision."""
    shown = {job.precision: {**result.scores, **result.costs} for job, result in runs}
    names = next(iter(shown.values()))
    return [{"": name} | {p: values[name] for p, values in shown.items()} for name in names]


def _about(tasks: Sequence[str], plan: Plan, seed: int) -> Iterator[str]:
    """What was done, in three sentences."""
    learned = sum(plan.video[task].train_videos for task in tasks)
    scored = sum(plan.video[task].val_videos for task in tasks)
    *others, last = plan.precisions
    yield paragraph(
        f"Synthetic video was filmed in the layouts of the official data sets: {learned} videos to "
        f"learn from and {scored} others. Tiny versions of the published recipes were trained on "
        f"it from random weights in {', '.join(others)} and {last}: the same weights, order and "
        "random draws, and on a CPU the half-precision arithmetic of a GPU. Every score is of the "
        f"videos that no training saw, for seed {seed} alone: one seed shows that training in "
        "half precision works, and halftrack parity, over several, whether it is as good."
    )


def _headline(runs: Found) -> dict[str, str]:
    """The method, its score's name, and the score in each precision: a row that fits a phone."""
    words = {job.precision: result.headline.rpartition(" ") for job, result in runs}
    job, _ = runs[0]
    score, _, _ = words[job.precision]
    return {"": f"{job.name.removesuffix(job.precision)}{score}"} | {
        precision: value for precision, (_, _, value) in words.items()
    }


def _charts(runs: Found) -> Iterator[str]:
    """Loss of each training and, of those in half precision, the loss scale."""
    records = {
        (part, job.precision): [r for r in read_log(log) if r["mode"] == "train"]
        for job, _ in runs
        for part, log in job.logs.items()
    }
    for part in dict.fromkeys(part for part, _ in records):
        lines = {p: _points(read, "loss") for (of, p), read in records.items() if of == part}
        chart = curves(lines, title=f"Loss of {part}", x="step")
        yield figure(f"Loss of {part}", chart + legend(lines), "means between two log lines")
    scales, skips = {}, []
    for (part, precision), read in records.items():
        if precision == "fp16":
            scales[part] = _points(read, "loss_scale")
            skips += [(r["step"], r["loss_scale"]) for r in read if r["skipped"] is True]
    if scales:
        chart = curves(
            scales, title="Loss scale in fp16", x="step", marks=skips, log2=(False, True)
        )
        yield figure("Loss scale in fp16", chart + legend(scales), "a cross is a skipped step")


def _points(records: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    # The log writes "inf" and "nan" as text; the line of a skipped step has no loss.
    return [(float(r["step"]), float(r[name])) for r in records if name in r]


def _shown(runs: Found, out: Path) -> Iterator[str]:
    """Curves of one-pass evaluation, frames and films."""
    success = {
        job.precision: result.ope.curves()["success_curve"] for job, result in runs if result.ope
    }
    if success:
        lines = {
            p: list(zip(c["thresholds"], c["percent"], strict=True)) for p, c in success.items()
        }
        chart = curves(lines, title="Success", x="overlap threshold")
        told = "share of the frames, in percent, with at least this overlap"
        yield figure("Success", chart + legend(lines), told)
    for job, result in runs:
        for file in result.files:
            if file.suffix == ".png":
                data = base64.b64encode(file.read_bytes()).decode()
                alt = f"{file.stem} with the detections of {job.name}"
                picture = f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
                yield figure(file.stem.replace("_", " "), picture, f"found by {job.name}")
            elif file.suffix == ".mp4":
                link = escape(file.relative_to(out).as_posix())
                film = f'<video src="{link}" controls autoplay loop muted playsinline></video>'
                yield figure(f"Tracks in {file.stem}", film, f"tracked by {job.name}")


def _more(found: Found, out: Path) -> Iterator[str]:
    """Links to the pages, tables, logs and tracks, and commands to go on with."""
    yield "<h2>More</h2>"
    links = {}
    for job, result in found:
        for file in result.files:
            if file.suffix == ".html":
                links[f"Rehearsal of a run of {job.task}: {result.headline}"] = file
            elif file.suffix == ".txt":
                links[f"Tracks of {file.stem}, as MOTChallenge text"] = file
        links |= {f"Log of {job.name}, {part}": log for part, log in job.logs.items()}
        if job.precision:
            links[f"Table of {job.task}"] = out / job.task / "table.csv"
    items = "".join(
        f'<li><a href="{escape(file.relative_to(out).as_posix())}">{escape(words)}</a></li>'
        for words, file in links.items()
    )
    yield f"<ul>{items}</ul><h3>Next</h3><ul>"
    for words, command in _NEXT.items():
        yield f"<li>{escape(words)}: <code>{escape(command)}</code></li>"
    yield "</ul>"
