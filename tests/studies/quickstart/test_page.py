"""The page of a quickstart is well-formed, names what was scored, and plays its films."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pages import CHROMIUM, WellFormed, widths_in_a_browser
from PIL import Image

from halftrack.evaluation import OpeScores
from halftrack.report.video import VideoWriter
from halftrack.studies.quickstart.jobs import Job, Result
from halftrack.studies.quickstart.page import Found, rows_of, write_page
from halftrack.studies.quickstart.plan import quick_plan

SIZE = (64, 96)
RECORDS = [
    {"mode": "meta", "steps": 2},
    {"mode": "train", "step": 1, "loss_scale": 65536.0, "skipped": True, "grad_norm": "inf"},
    {"mode": "train", "step": 1, "loss": "nan", "loss_scale": 65536.0, "skipped": 1},
    {"mode": "train", "step": 2, "loss": 0.5, "loss_scale": 32768.0, "skipped": 1},
    {"mode": "val", "step": 2, "success": 60.0},
]


def found(out: Path) -> Found:
    """A film job, both precisions of a tracker with curves, film and picture, and a rehearsal."""
    log, page = out / "sot/siamrpn/log.jsonl", out / "rehearsal/rehearsal.html"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS))
    page.parent.mkdir()
    page.touch()
    (out / "sot/table.csv").touch()
    film, picture = out / "sot/a <film>.mp4", out / "sot/frame_0.png"
    image = Image.new("RGB", SIZE[::-1], "red")
    image.save(picture)
    with VideoWriter(film, size=SIZE, frame_rate=10) as writer:
        writer.write(image)
    share = np.linspace(1, 0, 21)
    pairs = [(Job(name="sot video", task="sot", work=dict, typical=1.0), Result(headline="6"))]
    for precision in ("fp32", "fp16"):
        job = Job(
            name=f"SiamRPN++ {precision}",
            task="sot",
            precision=precision,
            work=dict,
            typical=1.0,
            logs={"siamrpn": log},
        )
        result = Result(
            headline="success <60.0>",
            scores={"Success": "60.0"},
            costs={"time (s)": "9"},
            files=(film, picture) if precision == "fp16" else (),
            ope=OpeScores(success_curve=share, precision_curve=share, norm_precision_curve=share),
        )
        pairs.append((job, result))
    rehearsal = Job(name="rehearsal", task="sot", work=dict, typical=1.0)
    return [*pairs, (rehearsal, Result(headline="nothing must change", files=(page,)))]


def written(out: Path) -> Path:
    return write_page(found(out), quick_plan(), out, seed=3, seconds=200.0)


def test_every_tag_is_closed_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    text = written(tmp_path).read_text()
    page = WellFormed(text)
    told = " ".join(page.words)
    for words in (
        "SiamRPN++ success",
        "<60.0>",
        "seed 3",
        "nothing must change",
        "Loss scale in fp16",
    ):
        assert words in told
    assert page.tags.count("svg") == 3  # loss, loss scale, success
    links = [v or "" for name, v in page.attributes if name in ("src", "href")]
    local = [link for link in links if not link.startswith("data:")]
    assert len(local) == 5
    assert all((tmp_path / link).exists() for link in local), local
    assert "http" not in text


def test_a_table_has_a_column_for_each_precision(tmp_path: Path) -> None:
    runs = [(job, result) for job, result in found(tmp_path) if job.precision]
    assert rows_of(runs) == [
        {"": "Success", "fp32": "60.0", "fp16": "60.0"},
        {"": "time (s)", "fp32": "9", "fp16": "9"},
    ]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it_without_overflow_and_plays_its_film(tmp_path: Path, width: int) -> None:
    content, window = widths_in_a_browser(written(tmp_path), width)
    assert window == width
    assert content <= window
