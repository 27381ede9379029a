"""Answers of a rehearsal, in words: four questions, and what must change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halftrack.precision.histogram import exponent_of
from halftrack.precision.loss_scale import scale_words
from halftrack.precision.sites import OUTERMOST
from halftrack.rehearsing.findings import Findings, RehearsedStep
from halftrack.rehearsing.memory import shown_size
from halftrack.rehearsing.rows import share, shown_scale

__all__ = [
    "Answer",
    "all_numbers",
    "answers",
    "must_change",
    "verdict",
]

_NAMED = 3  # modules and steps that a sentence names; the tables have all


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question answered."""

    question: str
    """The question."""
    words: str
    """A paragraph."""
    changes: tuple[str, ...] = ()
    """Changes to make before it is trained, each a sentence or a setting to paste."""


def answers(findings: Findings) -> tuple[Answer, ...]:
    """On ranges, skipped steps, fp32 islands and memory, in this order."""
    return (
        _on_ranges(findings),
        _on_skips(findings),
        _on_islands(findings),
        _on_memory(findings),
    )


def must_change(findings: Findings) -> tuple[str, ...]:
    """Everything without which the run would fail or lose gradients; nothing if it survives."""
    return tuple(change for answer in answers(findings) for change in answer.changes)


def verdict(findings: Findings) -> str:
    """The end of a rehearsal after which nothing must change, in a sentence."""
    count = len(findings.steps)
    return f"It survived {count} steps: nothing must change." if count else "No step was attempted."


def all_numbers(findings: Findings) -> dict[str, Any]:
    """Everything in numbers, as JSON takes it, with what must change."""
    return findings.numbers() | {"must_change": list(must_change(findings))}


def _on_ranges(findings: Findings) -> Answer:
    question = "What overflows or underflows, where, and what to do?"
    if findings.precision.name == "tf32":
        same = (
            "tf32 has the range of fp32: nothing overflows or underflows that fp32 would keep, and "
            "no loss scale is needed. Products round their operands to 10 mantissa bits, as fp16 "
            "does."
        )
        return Answer(question=question, words=same)
    if not findings.sampled:
        return Answer(question=question, words="No step was measured.")
    if not any(h.counts or h.nonfinite for h in findings.ranges.activations.values()):
        idle = (
            "no op was computed in half: is autocast on around the forward pass, and has no "
            "framework switched it off because this is a CPU?"
        )
        return Answer(question=question, words=f"{idle[:1].upper()}{idle[1:]}", changes=(idle,))
    words = [_forward(findings), *_backward(findings)]
    changes = tuple(
        f"{path or OUTERMOST} gives values that are not finite, which no gradient shows: look at "
        "its weights and at what it is given"
        for path in _hidden(findings)[:1]
    )
    advice, scale = findings.advice, findings.precision.loss_scale
    if findings.precision.name == "bf16":
        words.insert(0, "bf16 has the range of fp32 and needs no loss scale. In fp16:")
    elif advice is not None and not advice.unserved and scale != "dynamic":
        own = findings.precision.new_loss_scale().value
        if advice.least <= own <= advice.greatest:
            words.append(f"The {findings.owner}'s own scale, {scale_words(own)}, is within.")
        else:
            fault = "loses gradients that matter" if own < advice.least else "overflows"
            words.append(f"The {findings.owner}'s own scale, {scale_words(own)}, {fault}.")
            changes += (findings.set_loss_scale(shown_scale(advice)),)
    elif scale == "dynamic":
        words.append(f"The {findings.owner}'s dynamic scale finds its way there by itself.")
    return Answer(question=question, words=" ".join(words), changes=changes)


def _forward(findings: Findings) -> str:
    activations = findings.ranges.activations
    over = _overflowing(findings)
    if over:
        return f"Forward, {_names(over)} passed 65504, where fp16 ends, and became infinite."
    hidden = _hidden(findings)
    if hidden:
        return f"Forward, {_names(hidden)} gave values that are not finite."
    finite = {path: h for path, h in activations.items() if h.counts}
    if not finite:
        return "Forward nothing finite was rounded to half."
    path = max(finite, key=lambda path: max(finite[path].counts))
    histogram = finite[path]
    room = histogram.headroom
    left = f"{room} octaves below" if room else "within"
    return (
        "Forward nothing overflows: the largest value, of the order of "
        f"2^{max(histogram.counts)} in {path or OUTERMOST}, is {left} fp16's last octave."
    )


def _backward(findings: Findings) -> Iterator[str]:
    advice = findings.advice
    if advice is None:
        yield "No step with finite gradients was measured, so they tell of no loss scale."
        return
    if advice.unserved:
        yield (
            f"No single loss scale serves {_names(advice.unserved)}: what keeps the other "
            "gradients makes theirs infinite."
        )
    else:
        yield (
            "Gradients stay finite, and what matters of them is kept, at loss scales from "
            f"{_scale(advice.least)} to {_scale(advice.greatest)}."
        )
        if advice.recommended is not None:
            yield (
                f"Recommended is {_scale(advice.recommended)}, at which "
                f"{share(advice.lost_share(advice.recommended))} of all gradients are lost "
                f"({share(advice.lost_share(1.0))} at scale 1)."
            )
        else:
            yield "That leaves no headroom: a larger gradient will overflow."
    lost_updates = findings.ranges.lost_updates()
    if lost_updates:
        worst = max(lost_updates, key=lost_updates.__getitem__)
        yield (
            f"Weights kept in fp16 would lose up to {share(lost_updates[worst])} of their updates "
            f"({worst or OUTERMOST}); they are kept in fp32."
        )


def _on_skips(findings: Findings) -> Answer:
    question = "Why was a step skipped?"
    skipped, dynamic = findings.skipped, findings.precision.loss_scale == "dynamic"
    count = len(findings.steps)
    words = ["No step was attempted."]
    if count:
        words = [
            f"{len(skipped) or 'None'} of {count} steps {'were' if skipped else 'was'} skipped."
        ]
    changes: list[str] = []
    fits = {n: c.fits_at for n, step in skipped.items() if (c := step.culprit) and c.fits_at}
    scaled = list(fits)
    if scaled and dynamic:
        first, last = skipped[scaled[0]], skipped[scaled[-1]]
        words.append(
            f"{len(scaled)} while the dynamic loss scale came down from "
            f"{scale_words(first.loss_scale)}, as it is meant to; the last of them: {last.why}."
        )
    elif scaled:
        last = skipped[scaled[-1]]
        words.append(
            f"{len(scaled)} because the loss scale is too large; the last of them: {last.why}."
        )
        least = min(fits.values())
        whole = all(culprit.fits_whole_step for culprit in findings.culprits)
        lower = f"loss scale {scale_words(least)} or less"
        changes.append(findings.set_loss_scale(least) if whole else lower)
    for numbers in _by_cause({n: step for n, step in skipped.items() if n not in scaled}):
        step, named = skipped[numbers[0]], _steps(numbers)
        words.append(f"S{named[1:]}: {step.why}.")
        if step.culprit is not None:
            changes.append(f"{named}: {step.why}")
    for numbers in _by_cause({n: s for n, s in enumerate(findings.steps, 1) if s.taken_blindly}):
        why = f"{_steps(numbers)}: {findings.steps[numbers[0] - 1].why}"
        words.append(f"The weights moved though the loss was not finite, in {why}.")
        changes.append(f"the loss was not finite in {why}")
    if findings.stopped is not None:
        words.append(f"It could not go on: {findings.stopped}")
        changes.append(findings.stopped)
    if skipped and len(skipped) == count and not changes:
        *_, last = skipped.values()
        changes.append(
            f"none of {count} steps was taken: {last.why}; rehearse more steps, or start at a "
            "smaller loss scale"
        )
    return Answer(question=question, words=" ".join(words), changes=tuple(dict.fromkeys(changes)))


def _by_cause(skipped: Mapping[int, RehearsedStep]) -> list[list[int]]:
    """The numbers of skipped steps, those together that were skipped for the same cause."""
    groups: dict[object, list[int]] = {}
    for number, step in skipped.items():
        culprit = step.culprit
        cause = step.why if culprit is None else (culprit.where, culprit.operation, culprit.kind)
        groups.setdefault(cause, []).append(number)
    return list(groups.values())


def _steps(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"step {numbers[0]}"
    return f"steps {_names(map(str, numbers))}; step {numbers[0]}"


def _on_islands(findings: Findings) -> Answer:
    question = "Which modules must stay in fp32?"
    found, kept = findings.fp32_islands, findings.precision.keep_fp32
    if found is None:
        return _without_search(findings, question)
    if found.keep_fp32 is None:
        return Answer(question=question, words=f"{found}.", changes=(str(found),))
    if not found.keep_fp32:
        words = "None: a rehearsal of two steps without any island is clean."
        return Answer(question=question, words=words)
    assignment = findings.set_islands(found.keep_fp32)
    words = (
        f"{_names(found.keep_fp32)}: without any one of them a rehearsal is not clean "
        f"({found.rehearsals} were tried)."
    )
    if findings.islands_bytes is not None:
        words += f" Together they cost {shown_size(findings.islands_bytes)}."
    missing = not set(found.keep_fp32) <= set(kept)
    return Answer(question=question, words=words, changes=(assignment,) * missing)


def _without_search(findings: Findings, question: str) -> Answer:
    """What the ranges alone say; in bf16 they say nothing of it."""
    advice = findings.advice
    needed = _overflowing(findings)
    needed += tuple(path for path in (advice.unserved if advice else ()) if path not in needed)
    kept = findings.precision.keep_fp32
    if not needed or findings.precision.name == "bf16":
        beside = f" beside those it keeps already ({', '.join(kept)})" if kept else ""
        words = f"None{beside}, as far as {len(findings.steps)} steps can tell."
        return Answer(question=question, words=words)
    words = f"{_names(needed)}, as the ranges have it; {findings.islands_hint} and its cost."
    paths = tuple(path for path in needed if path)
    changes = [findings.set_islands(tuple(dict.fromkeys((*kept, *paths))))] * bool(paths)
    if "" in needed:
        changes.append("what the model itself computes belongs within fp32_island")
    return Answer(question=question, words=words, changes=tuple(changes))


def _on_memory(findings: Findings) -> Answer:
    question = "How much memory does a step take?"
    if findings.no_memory is not None:
        return Answer(question=question, words=findings.no_memory)
    by_name = {step.precision: step for step in findings.memory}
    sizes = ", ".join(f"{shown_size(step.peak)} in {name}" for name, step in by_name.items())
    words = f"A step at {findings.planned_sizes} holds {sizes}."
    own = by_name.get(findings.precision.name)
    if own is not None:
        low, high = map(shown_size, own.on_a_gpu)
        kind = max(own.by_kind, key=own.by_kind.__getitem__)
        words += (
            f" In {own.precision} a GPU's allocator would hold {low} to {high}, its context "
            f"not among them; the largest part is {kind}, {shown_size(own.by_kind[kind])}."
        )
    return Answer(question=question, words=words)


def _overflowing(findings: Findings) -> tuple[str, ...]:
    """Modules that made an infinity of a finite value in the forward pass."""
    by_range = [path for path, h in findings.ranges.activations.items() if h.becomes_inf()]
    # Of steps that were not measured only the trace knows.
    by_trace = [
        "" if culprit.where == OUTERMOST else culprit.where
        for culprit in findings.culprits
        if (culprit.direction, culprit.kind) == ("forward", "overflow")
        and culprit.dtype == "float16"
        and culprit.magnitude is not None
    ]
    return tuple(dict.fromkeys((*by_range, *by_trace)))


def _hidden(findings: Findings) -> tuple[str, ...]:
    """Modules whose results are not finite, in order, if no culprit of a forward pass tells it.

    An overflow of a backward pass explains none of a forward one.
    """
    if _overflowing(findings) or any(each.direction != "backward" for each in findings.culprits):
        return ()
    return tuple(path for path, h in findings.ranges.activations.items() if h.nonfinite)


def _scale(value: float) -> str:
    return scale_words(value) if value < 1e6 else f"2^{exponent_of(value)}"


def _names(paths: Iterable[str]) -> str:
    first, *others = [path or OUTERMOST for path in paths]
    named = [first, *others[: _NAMED - 1]]
    more = len(others) + 1 - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
