"""A rehearsal as one HTML page that needs nothing but itself: no network, no scripts, no fonts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from halftrack.precision import Histogram, LossScaleAdvice
from halftrack.precision.loss_scale import scale_words
from halftrack.precision.sites import OUTERMOST
from halftrack.rehearsing.answers import all_numbers, answers, must_change, verdict
from halftrack.rehearsing.findings import Findings
from halftrack.rehearsing.html import COLOURS, document, figure, paragraph, table
from halftrack.rehearsing.memory import folded
from halftrack.rehearsing.otherwise import told_otherwise
from halftrack.rehearsing.rows import memory_rows, module_rows
from halftrack.rehearsing.svg import curves, legend, octaves, stacked_bars

__all__ = ["page", "save_page", "write_page"]

_WORST = 2  # modules with charts of their own
_LARGEST = 10  # modules among those that hold the most
_SCALES = range(25)  # powers of two that a dynamic loss scale may reach


def write_page(findings: Findings, out: Path) -> Path:
    """Write ``rehearsal.html`` and, with everything in numbers, ``rehearsal.json``.

    Returns the page's path.
    """
    path = out / "rehearsal.html"
    save_page(findings, path)
    return path


def save_page(findings: Findings, path: Path) -> None:
    """Write the page to a file, and everything in numbers beside it with the suffix ``.json``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(all_numbers(findings), indent=1, allow_nan=False)
    beside = path.with_suffix(".json")
    beside.write_text(numbers, encoding="utf-8")
    path.write_text(page(findings, numbers=beside.name), encoding="utf-8")


def page(findings: Findings, *, numbers: str = "rehearsal.json") -> str:
    """The page as text; ``numbers`` is the name of the file beside it that has all of them."""
    return document(
        f"Rehearsal of {findings.name}",
        [
            *_about(findings),
            *_verdict(findings),
            *_answers(findings),
            *(_ranges(findings) if findings.precision.is_half else ()),
            *_steps(findings),
            *_memory(findings),
            _footer(findings, numbers),
        ],
    )


def _about(findings: Findings) -> Iterator[str]:
    precision = findings.precision
    scale = "" if precision.loss_scale is None else f", loss scale {precision.loss_scale}"
    yield paragraph(
        f"{precision.name}{scale}; {len(findings.steps)} of {findings.planned_steps} steps "
        f"{findings.circumstances}; a CPU with a GPU's arithmetic.",
        kind="soft",
    )
    for line in findings.notes:
        yield paragraph(f"{line[:1].upper()}{line[1:]}.", kind="soft")


def _verdict(findings: Findings) -> Iterator[str]:
    changes = must_change(findings)
    if not changes:
        yield f'<div class="verdict"><strong>{verdict(findings)}</strong></div>'
        return
    lines = "".join(f"<li><code>{escape(change)}</code></li>" for change in changes)
    yield (
        '<div class="verdict bad"><strong>Something must change before this is trained:</strong>'
        f"<ul>{lines}</ul></div>"
    )


def _answers(findings: Findings) -> Iterator[str]:
    yield '<div class="answers">'
    for answer in answers(findings):
        yield f"<div><h3>{escape(answer.question)}</h3>{paragraph(answer.words)}</div>"
    yield "</div>"
    for line in told_otherwise(findings.called):
        yield paragraph(line, kind="soft")


def _ranges(findings: Findings) -> Iterator[str]:
    ranges, advice = findings.ranges, findings.advice
    scale = None if advice is None else advice.recommended
    yield "<h2>Ranges</h2>"
    sampled = ", ".join(map(str, findings.sampled)) or "none"
    yield paragraph(
        f"Steps measured: {sampled}. Shares of the values that are not 0, by power of two, before "
        "they are rounded to half. Blue is what fp16 holds, for gradients at the recommended "
        "loss scale; grey, below 2^-27, is too small to matter."
    )
    yield '<div class="charts">'
    for name, found in (
        ("Activations", ranges.activations),
        ("Gradients of activations", ranges.activation_gradients),
        ("Gradients of weights", ranges.weight_gradients),
    ):
        backward = found is not ranges.activations
        yield _histogram(name, _sum(found), scale if backward else None, gradient=backward)
    yield _lost(advice)
    yield "</div>"
    yield "<h3>The modules nearest to fp16's ends</h3>"
    yield '<div class="charts">'
    rooms = {p: h.headroom for p, h in ranges.activations.items() if h.headroom is not None}
    for path in sorted(rooms, key=rooms.__getitem__)[:_WORST]:
        yield _histogram(f"Activations of {path or OUTERMOST}", ranges.activations[path], None)
    for path in _most_lost(advice):
        title = f"Gradients of {path or OUTERMOST}"
        yield _histogram(title, ranges.gradients[path], scale, gradient=True)
    yield "</div>"
    yield table(module_rows(findings))


def _histogram(
    name: str, histogram: Histogram, scale: float | None, *, gradient: bool = False
) -> str:
    chart = octaves(histogram, title=name, scale=scale, gradient=gradient)
    told = f"{histogram.total:,} values"
    if histogram.total:
        told += f", {100 * histogram.zeros / histogram.total:.1f}% of them exact zeros"
    if histogram.nonfinite:
        told += f", {histogram.nonfinite:,} not finite"
    return figure(name, chart, told)


def _lost(advice: LossScaleAdvice | None) -> str:
    lines: dict[str, list[tuple[float, float]]] = {}
    told = "no gradients were measured"
    if advice is not None:
        scales = [2.0**k for k in _SCALES]
        lines["all modules"] = [(s, advice.lost_share(s)) for s in scales]
        for path in _most_lost(advice)[:1]:
            lines[path or OUTERMOST] = [(s, advice.lost_share(s, path)) for s in scales]
        told = "share that becomes 0 or infinite; blue is the range that is safe"
        if advice.safe is None:
            told = "share that becomes 0 or infinite; no range is safe"
    chart = curves(
        lines,
        title="Gradients lost by loss scale",
        x="loss scale",
        log2=(True, False),
        percent=True,
        band=None if advice is None else advice.safe,
    )
    return figure("Gradients lost at any loss scale", chart + legend(lines), told)


def _steps(findings: Findings) -> Iterator[str]:
    numbered = list(enumerate(findings.steps, start=1))
    losses = {
        name: [(float(number), step.losses.get(name, math.nan)) for number, step in numbered]
        for name in findings.trained_terms[:COLOURS]
        if numbered
    }
    scales = [(float(number), step.loss_scale) for number, step in numbered]
    crosses = [(float(n), step.loss_scale) for n, step in findings.skipped.items()]
    yield "<h2>Steps</h2>"
    yield '<div class="charts">'
    chart = curves(losses, title="Losses by step", x="step")
    yield figure("Losses", chart + legend(losses), "the terms and their sum")
    chart = curves(
        {"loss scale": scales}, title="Loss scale", x="step", marks=crosses, log2=(False, True)
    )
    yield figure("Loss scale", chart, "a cross is a skipped step")
    yield "</div>"
    yield "<h3>Skipped steps</h3>"
    ledger = [
        {"step": number, "loss scale": scale_words(step.loss_scale), "why": step.why}
        for number, step in findings.skipped.items()
    ]
    yield table(ledger) if ledger else paragraph("No step was skipped.")


def _memory(findings: Findings) -> Iterator[str]:
    yield "<h2>Memory</h2>"
    if findings.no_memory is not None:
        yield paragraph(findings.no_memory)
        return
    yield paragraph(
        f"The peak of live tensors in a training step at {findings.planned_sizes}, predicted "
        "without computing it, and what a GPU's allocator held in measured and published runs "
        "would make of it."
    )
    kinds = {
        step.precision: {kind: size / 2**20 for kind, size in step.by_kind.items()}
        for step in findings.memory
    }
    yield '<div class="charts">'
    chart = stacked_bars(kinds, title="Memory by kind", unit="MiB")
    names = next(iter(kinds.values()), {})
    yield figure("By kind", chart + legend(names), "alive at the peak")
    own = {step.precision: folded(step.by_module) for step in findings.memory}
    sizes = own.get(findings.precision.name, {})
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:_LARGEST]
    bars = {part: {"": sizes[part] / 2**20} for part in largest}
    chart = stacked_bars(bars, title="Memory by module", unit="MiB", names=170)
    told = f"activations and cast weights alive at the peak, {findings.precision.name}"
    yield figure("By module", chart, told)
    yield "</div>"
    yield table(memory_rows(findings))


def _footer(findings: Findings, numbers: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in findings.versions.items())
    return paragraph(
        f"{versions}; {findings.seconds:.0f} s. All numbers: {numbers} beside this page.",
        kind="soft",
    )


def _most_lost(advice: LossScaleAdvice | None) -> list[str]:
    """The modules whose gradients suffer most at the recommended scale, or without one at 1."""
    if advice is None:
        return []
    scale = advice.recommended or 1.0
    lost = {p: advice.lost_share(scale, p) for p, h in advice.gradients.items() if h.nonzero}
    return sorted(lost, key=lost.__getitem__, reverse=True)[:_WORST]


def _sum(found: Mapping[str, Histogram]) -> Histogram:
    return sum(found.values(), start=Histogram())
