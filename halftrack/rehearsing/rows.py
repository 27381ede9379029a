"""Rows of a rehearsal's tables: modules with what to do about each, and memory by kind."""

from __future__ import annotations

from halftrack.precision import Histogram, LossScaleAdvice
from halftrack.precision.loss_scale import scale_words
from halftrack.precision.sites import OUTERMOST
from halftrack.rehearsing.findings import Findings
from halftrack.rehearsing.memory import shown_size

__all__ = ["largest", "memory_rows", "module_rows", "share", "shown_scale"]

Row = dict[str, object]

_CLOSE = 2  # octaves to fp16's end from which on a module is to be watched
_NONE = Histogram()


def module_rows(findings: Findings) -> list[Row]:
    """Rows of modules in the order of the forward pass: what was seen and what to do about it."""
    ranges, advice = findings.ranges, findings.advice
    scale = shown_scale(advice)
    gradients = ranges.gradients
    rows: list[Row] = []
    for path in {**ranges.activations, **gradients}:
        activations, gradient = ranges.activations.get(path, _NONE), gradients.get(path, _NONE)
        lost = "-"
        if advice is not None and gradient.nonzero:
            lost = share(advice.lost_share(scale, path))
        rows.append(
            {
                "module": path or OUTERMOST,
                "largest activation": largest(activations),
                "headroom": "-" if activations.headroom is None else activations.headroom,
                "largest gradient": largest(gradient),
                f"lost at scale {scale_words(scale)}": lost,
                "what to do": _to_do(path, activations, advice),
            }
        )
    return rows


def memory_rows(findings: Findings) -> list[Row]:
    """The predicted peak and its kinds, a column for each precision."""
    columns = {
        step.precision: {
            "live": shown_size(step.peak),
            "on a GPU": " to ".join(map(shown_size, step.on_a_gpu)),
            **{kind: shown_size(size) for kind, size in step.by_kind.items()},
        }
        for step in findings.memory
    }
    kinds = next(iter(columns.values()), {})
    return [
        {"": kind, **{precision: column[kind] for precision, column in columns.items()}}
        for kind in kinds
    ]


def share(value: float) -> str:
    """A share in percent, to two digits, small ones never as 0."""
    if value == 0 or value >= 1e-4:
        return f"{100 * value:.3g}%"
    return "under 0.01%"


def shown_scale(advice: LossScaleAdvice | None) -> float:
    """The recommended scale; where there is none, what comes nearest."""
    if advice is None:
        return 1.0
    return advice.recommended or min(advice.least, advice.greatest)


def largest(histogram: Histogram) -> str:
    """The octave of the largest value of a histogram."""
    if histogram.nonfinite:
        return "infinite"
    return f"2^{max(histogram.counts)}" if histogram.counts else "-"


def _to_do(path: str, activations: Histogram, advice: LossScaleAdvice | None) -> str:
    keep = "keep in fp32" if path else "compute within fp32_island"
    if activations.becomes_inf():
        return f"{keep}: overflows forward"
    if advice is not None and path in advice.unserved:
        return f"{keep}: no single loss scale serves it"
    if activations.nonfinite:
        return "look at what it was given: not finite"
    if activations.headroom is not None and activations.headroom <= _CLOSE:
        return f"watch: {activations.headroom} octaves to fp16's last"
    return "-"
