"""A run as one HTML page, which a browser loads again while the run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from halftrack.rehearsing.html import document, paragraph, table
from halftrack.report.log_page import log_charts
from halftrack.studies.following.comparison import last_row
from halftrack.studies.following.run import FollowedRun
from halftrack.studies.following.screen import plain_number, state_words

__all__ = ["run_page"]


def run_page(run: FollowedRun, *, refresh: int | None = None) -> str:
    """The page as text: state, final values, curves, skipped steps, evaluations, settings.

    Args:
        run: the run.
        refresh: seconds after which a browser loads the page again; None: never.
    """
    return document(f"Run {run.name}", _body(run), refresh=refresh)


def _body(run: FollowedRun) -> Iterator[str]:
    bad = "" if run.state in ("running", "finished") else " bad"
    yield f'<div class="verdict{bad}">{paragraph(state_words(run))}</div>'
    yield paragraph(
        f"As of {time.strftime('%Y-%m-%d %H:%M:%S')}, from {run.log.file}.", kind="soft"
    )
    if run.log.lines:
        yield f"<h2>{'Latest' if run.running else 'Final'} values</h2>"
        yield table([{"": name, "value": value} for name, value in last_row(run.log).items()])
        yield "<h2>Curves</h2>"
        yield from log_charts(run.panels())
    yield f"<h2>Skipped steps: {len(run.skipped)}</h2>"
    yield table([_skipped_row(row) for row in run.skipped])
    yield "<h2>Evaluations</h2>"
    names = dict.fromkeys(name for line in run.evaluated for name in line.values)
    yield table(
        [
            {"epoch": line.epoch, "step": f"{line.step:g}"}
            | {name: f"{line.values[name]:.4g}" if name in line.values else "-" for name in names}
            for line in run.evaluated
        ]
    )
    yield "<h2>Settings</h2>"
    yield table([{"": name, "value": value} for name, value in run.settings().items()])


def _skipped_row(row: Mapping[str, Any]) -> dict[str, object]:
    """A skipped step, its culprit and its samples."""
    culprit = row.get("culprit") or {}
    told = {
        name.replace("_", " "): "-" if culprit.get(name) is None else culprit[name]
        for name in ("where", "operation", "direction", "kind", "loss_term", "fits_at")
    }
    return {
        "step": row.get("step"),
        "loss scale": plain_number(row.get("loss_scale")),
        **told,
        "fits at": plain_number(told["fits at"]),
        "samples": ", ".join(map(str, row.get("sample_ids") or ())),
    }
