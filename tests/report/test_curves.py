"""Curves of logs are drawn, whatever way the logs are named."""

from __future__ import annotations

from pathlib import Path

from halftrack.report import plot_curves

LINE = '{"mode": "train", "step": 1, "loss": 0.5, "grad_norm": "inf", "loss_scale": 8.0}\n'


def test_runs_are_drawn_by_their_folders(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(LINE)
    plot_curves(str(tmp_path / "curves.png"), {"one": str(tmp_path), "two": [tmp_path] * 2})
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
