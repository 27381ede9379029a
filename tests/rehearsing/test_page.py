"""The page of a rehearsal stands alone, is well-formed, and fits a screen of any width."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
import torch
from pages import CHROMIUM, WellFormed, widths_in_a_browser

from halftrack.precision import Histogram, Precision, Ranges
from halftrack.precision.memory import KINDS
from halftrack.rehearsing.findings import Findings, RehearsedStep
from halftrack.rehearsing.memory import StepMemory
from halftrack.rehearsing.page import page, write_page

SECTIONS = ("Ranges", "Steps", "Memory")
QUESTIONS = (
    "What overflows or underflows, where, and what to do?",
    "Why was a step skipped?",
    "Which modules must stay in fp32?",
    "How much memory does a step take?",
)


def memory(precision: str, size: int) -> StepMemory:
    return StepMemory(
        precision=precision,
        peak=size,
        by_kind=dict.fromkeys(KINDS, size // len(KINDS)),
        by_module={"backbone.layer1.0": size // 2, "": size // 9, "a" * 60: size // 4},
    )


EMPTY = Findings(
    name="a_model",
    precision=Precision("fp16", "dynamic"),
    planned_sizes="600x1000 (data.num_references=2)",
    planned_steps=50,
    memory=(),
    versions={"halftrack": "0", "git": None},
)


def full() -> Findings:
    """Everything a page can show, with names that would break it."""
    generator = torch.Generator().manual_seed(0)

    def spread(octave: float) -> Histogram:
        return Histogram.of(torch.randn(4096, generator=generator) * 2.0**octave)

    # A long name in text that could not be wrapped would widen the page.
    paths = ("", "<script>alert(1)</script>", "backbone." + "layer_with_a_long_name." * 6 + "conv")
    steps = tuple(
        RehearsedStep(
            losses={"loss": 2.0 / number, "loss_<b>": 1.0 / number, "acc": 3.0},
            grad_norm=math.inf if number == 1 else 1.0,
            loss_scale=2.0 ** (16 - number),
            skipped=number == 1,
            why="an & in <i>words</i>" if number == 1 else None,
        )
        for number in range(1, 9)
    )
    infinite = Histogram.of(torch.tensor([1e5, math.inf, 0.0]))
    return dataclasses.replace(
        EMPTY,
        memory=tuple(memory(n, s) for n, s in (("fp32", 2**31), ("bf16", 2**30), ("fp16", 2**30))),
        notes=("something was & assumed",),
        steps=steps,
        sampled=(1, 2),
        ranges=Ranges(
            activations={path: spread(2) for path in paths} | {"over": infinite},
            activation_gradients={path: spread(-20) for path in paths},
            weight_gradients={path: spread(-12) for path in paths},
            update_ratios={paths[2]: spread(12)},
        ),
    )


@pytest.mark.parametrize("rehearsal", [EMPTY, full()], ids=["empty", "full"])
def test_every_section_is_there_and_every_tag_is_closed(rehearsal: Findings) -> None:
    found = WellFormed(page(rehearsal))
    told = " ".join(found.words)
    assert all(title in told for title in (*SECTIONS, *QUESTIONS))
    assert found.tags.count("h2") == len(SECTIONS)
    assert found.tags.count("svg") >= 6


@pytest.mark.parametrize("rehearsal", [EMPTY, full()], ids=["empty", "full"])
def test_the_page_needs_nothing_but_itself(rehearsal: Findings) -> None:
    text = page(rehearsal)
    found = WellFormed(text)
    assert "script" not in found.tags
    references = {value for name, value in found.attributes if name in ("src", "href", "data")}
    assert references == {"data:,"}
    assert not re.search(r"url\(|@import|https?://", text)


def test_names_are_shown_as_they_are() -> None:
    told = " ".join(WellFormed(page(full())).words)
    for name in ("<script>alert(1)</script>", "loss_<b>", "an & in <i>words</i>", "& assumed"):
        assert name in told


def test_all_losses_that_are_trained_are_drawn() -> None:
    steps = (
        RehearsedStep(losses={}, grad_norm=math.nan, loss_scale=2.0, skipped=True, why="it raised"),
        RehearsedStep(
            losses={"cls": 1.0, "bbox": 2.0, "loss": 3.0},
            grad_norm=1.0,
            loss_scale=1.0,
            skipped=False,
        ),
    )
    told = WellFormed(page(dataclasses.replace(EMPTY, steps=steps))).words
    assert {"loss", "cls", "bbox"} <= {word.strip() for word in told}


def test_large_scales_are_told_to_the_last_digit() -> None:
    small = Histogram.of(torch.full((9,), 2.0**-26))
    shown = page(
        dataclasses.replace(
            EMPTY,
            precision=Precision("fp16", 2.0**24),
            steps=(dataclasses.replace(full().steps[0], loss_scale=2.0**23),),
            sampled=(1,),
            ranges=Ranges(activations={"fc": small}, activation_gradients={"fc": small}),
        )
    )
    assert "own scale, 16777216, is within" in shown
    assert "8388608" in shown
    assert not re.findall(r"\de\+\d.*", shown)


def test_what_overflows_is_told_first() -> None:
    told = " ".join(WellFormed(page(full())).words)
    verdict = told.index("Something must change")
    assert verdict < told.index(QUESTIONS[0])
    assert "keep_fp32=('over',)" in told
    assert "keep in fp32: overflows forward" in told


def test_all_numbers_are_beside_it(tmp_path: Path) -> None:
    path = write_page(full(), tmp_path / "new")
    assert path.name == "rehearsal.html"
    numbers = json.loads((path.parent / "rehearsal.json").read_text(), parse_constant=pytest.fail)
    assert numbers["steps"][0]["grad_norm"] == "inf"
    assert numbers["loss_scale"]["recommended"] == full().advice.recommended
    assert Ranges.from_dict(numbers["ranges"]) == full().ranges


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("rehearsal", [EMPTY, full()], ids=["empty", "full"])
def test_a_browser_shows_it_without_complaint_or_overflow(
    tmp_path: Path, width: int, rehearsal: Findings
) -> None:
    content, window = widths_in_a_browser(write_page(rehearsal, tmp_path), width)
    assert window == width
    assert content <= window
