"""A whole quickstart, as short as can be, and a second one in its folder."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from pages import WellFormed
from rich.console import Console

from halftrack.errors import UserError
from halftrack.studies.quickstart.plan import Plan, quick_plan
from halftrack.studies.quickstart.run import run_quickstart


def shortest() -> Plan:
    """Two steps of single-object tracking in fp16 alone."""
    plan = quick_plan()
    geometry = replace(plan.sot.model.geometry, template_size=63, search_size=127)
    training = replace(plan.sot.training, epochs=1, milestones=(), evaluate_every=1, gamma=1.0)
    return replace(
        plan,
        precisions=("fp16",),
        processes=1,
        video={"sot": replace(plan.video["sot"], train_videos=2, val_videos=1, frames=8)},
        sot=replace(
            plan.sot,
            model=replace(plan.sot.model, geometry=geometry),
            data=replace(plan.sot.data, pairs_per_batch=2, pairs_per_epoch=4),
            training=replace(training, warmup_steps=0),
        ),
        rehearsal_steps=1,
    )


@pytest.mark.slow
def test_all_is_shown_on_a_page_with_tables_and_a_film(tmp_path: Path) -> None:
    text = io.StringIO()
    (tmp_path / "sot/siamrpn_fp16").mkdir(parents=True)
    (tmp_path / "sot/siamrpn_fp16/step_9.pth").touch()  # of an earlier quickstart
    console = Console(file=text, width=80)
    run_quickstart(shortest(), tmp_path, task="sot", seed=1, console=console)
    told = text.getvalue()
    for words in ("sot video begins", "SiamRPN++ fp16: success ", "Norm. precision", "index.html"):
        assert words in told
    page = WellFormed((tmp_path / "index.html").read_text())
    links = [v or "" for name, v in page.attributes if name in ("src", "href")]
    local = {link for link in links if not link.startswith("data:")}
    assert {Path(link).suffix for link in local} == {".csv", ".html", ".jsonl", ".mp4", ".txt"}
    assert all((tmp_path / link).is_file() for link in local)
    assert "epoch 1: success" in (tmp_path / "output.txt").read_text()


def test_a_task_that_there_is_not_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'x'; there are vid, mot, sot and all"):
        run_quickstart(
            quick_plan(), tmp_path, task="x", seed=0, console=Console(file=io.StringIO())
        )
    assert not any(tmp_path.iterdir())
