"""A rehearsal as one HTML page that needs nothing but itself: no network, no scripts, no fonts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

from halftrack.precision import Histogram, LossScaleAdvice
from halftrack.precision.sites import OUTERMOST
from halftrack.rehearsing.html import COLOURS, document, figure, paragraph, table
from halftrack.rehearsing.svg import curves, legend, octaves, stacked_bars
from halftrack.studies.memory.plan import folded
from halftrack.studies.rehearsal.answers import answers, memory_rows, module_rows, must_change
from halftrack.studies.rehearsal.rehearse import Rehearsal

__all__ = ["page", "write_page"]

_WORST = 2  # modules with charts of their own
_LARGEST = 10  # modules among those that hold the most
_SCALES = range(25)  # powers of two that a dynamic loss scale may reach


def write_page(rehearsal: Rehearsal, out: Path) -> Path:
    """Write ``rehearsal.html`` and, with everything in numbers, ``rehearsal.json``.

    Returns the page's path.
    """
    out.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(rehearsal.numbers(), indent=1, allow_nan=False)
    (out / "rehearsal.json").write_text(numbers, encoding="utf-8")
    path = out / "rehearsal.html"
    path.write_text(page(rehearsal), encoding="utf-8")
    return path


def page(rehearsal: Rehearsal) -> str:
    """The page as text."""
    return document(
        f"Rehearsal of {rehearsal.recipe}",
        [
            *_about(rehearsal),
            *_verdict(rehearsal),
            *_answers(rehearsal),
            *(_ranges(rehearsal) if rehearsal.precision.is_half else ()),
            *_steps(rehearsal),
            *_memory(rehearsal),
            _footer(rehearsal),
        ],
    )


def _about(rehearsal: Rehearsal) -> Iterator[str]:
    precision, (height, width) = rehearsal.precision, rehearsal.image
    scale = "" if precision.loss_scale is None else f", loss scale {precision.loss_scale}"
    yield paragraph(
        f"{precision.name}{scale}; {len(rehearsal.steps)} of {rehearsal.planned_steps} steps on "
        f"{rehearsal.data}, images of {height}x{width}, seed {rehearsal.seed}; a CPU with a GPU's "
        "arithmetic.",
        kind="soft",
    )
    for line in rehearsal.notes:
        yield paragraph(f"{line[:1].upper()}{line[1:]}.", kind="soft")


def _verdict(rehearsal: Rehearsal) -> Iterator[str]:
    changes = must_change(rehearsal)
    if not changes:
        count = len(rehearsal.steps)
        yield (
            f'<div class="verdict"><strong>It survived {count} steps: nothing must change.'
            "</strong></div>"
        )
        return
    lines = "".join(f"<li><code>{escape(change)}</code></li>" for change in changes)
    yield (
        '<div class="verdict bad"><strong>Something must change before this is trained:</strong>'
        f"<ul>{lines}</ul></div>"
    )


def _answers(rehearsal: Rehearsal) -> Iterator[str]:
    yield '<div class="answers">'
    for answer in answers(rehearsal):
        yield f"<div><h3>{escape(answer.question)}</h3>{paragraph(answer.words)}</div>"
    yield "</div>"


def _ranges(rehearsal: Rehearsal) -> Iterator[str]:
    ranges, advice = rehearsal.ranges, rehearsal.advice
    scale = None if advice is None else advice.recommended
    yield "<h2>Ranges</h2>"
    sampled = ", ".join(map(str, rehearsal.sampled)) or "none"
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
    yield table(module_rows(rehearsal))


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


def _steps(rehearsal: Rehearsal) -> Iterator[str]:
    numbered = list(enumerate(rehearsal.steps, start=1))
    terms = ["loss", *(n for n in _terms(rehearsal) if n.startswith("loss") and n != "loss")]
    losses = {
        name: [(float(number), step.losses[name]) for number, step in numbered]
        for name in terms[:COLOURS]
        if numbered
    }
    scales = [(float(number), step.loss_scale) for number, step in numbered]
    crosses = [(float(n), step.loss_scale) for n, step in rehearsal.skipped.items()]
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
        {"step": number, "loss scale": f"{step.loss_scale:g}", "why": step.why}
        for number, step in rehearsal.skipped.items()
    ]
    yield table(ledger) if ledger else paragraph("No step was skipped.")


def _memory(rehearsal: Rehearsal) -> Iterator[str]:
    yield "<h2>Memory</h2>"
    yield paragraph(
        f"The peak of live tensors in a training step at {rehearsal.planned_sizes}, predicted "
        "without computing it, and what a GPU's allocator held in measured and published runs "
        "would make of it."
    )
    kinds = {
        step.precision: {kind: size / 2**20 for kind, size in step.by_kind.items()}
        for step in rehearsal.memory
    }
    yield '<div class="charts">'
    chart = stacked_bars(kinds, title="Memory by kind", unit="MiB")
    names = next(iter(kinds.values()), {})
    yield figure("By kind", chart + legend(names), "alive at the peak")
    own = {step.precision: folded(step.by_module) for step in rehearsal.memory}
    sizes = own.get(rehearsal.precision.name, {})
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:_LARGEST]
    bars = {part: {"": sizes[part] / 2**20} for part in largest}
    chart = stacked_bars(bars, title="Memory by module", unit="MiB", names=170)
    told = f"activations and cast weights alive at the peak, {rehearsal.precision.name}"
    yield figure("By module", chart, told)
    yield "</div>"
    yield table(memory_rows(rehearsal))


def _footer(rehearsal: Rehearsal) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in rehearsal.versions.items())
    return paragraph(
        f"{versions}; {rehearsal.seconds:.0f} s. All numbers: rehearsal.json beside this page.",
        kind="soft",
    )


def _terms(rehearsal: Rehearsal) -> Iterable[str]:
    return rehearsal.steps[0].losses if rehearsal.steps else ()


def _most_lost(advice: LossScaleAdvice | None) -> list[str]:
    """The modules whose gradients suffer most at the recommended scale, or without one at 1."""
    if advice is None:
        return []
    scale = advice.recommended or 1.0
    lost = {p: advice.lost_share(scale, p) for p, h in advice.gradients.items() if h.nonzero}
    return sorted(lost, key=lost.__getitem__, reverse=True)[:_WORST]


def _sum(found: Mapping[str, Histogram]) -> Histogram:
    return sum(found.values(), start=Histogram())
