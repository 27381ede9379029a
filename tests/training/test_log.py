from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

FIELDS = {
    "mode",
    "epoch",
    "iter",
    "step",
    "lr",
    "memory",
    "data_time",
    "time",
    "loss_fit",
    "loss_size",
    "acc",
    "loss",
    "grad_norm",
    "loss_scale",
    "skipped",
}


def rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_lines_carry_mmtrackings_fields(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path)
    log = rows(tmp_path)
    assert [row["mode"] for row in log] == ["meta", "train", "val", "train", "train", "val"]
    assert all(set(row) == FIELDS for row in log if row["mode"] == "train")
    assert all({"epoch", "iter", "step", "score"} < set(row) for row in log if row["mode"] == "val")
    assert [row["epoch"] for row in log[1:]] == [1, 1, 2, 2, 2]


def test_the_first_line_says_what_was_run(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path)
    meta = rows(tmp_path)[0]
    assert meta["recipe"] == {"name": "tiny"}
    assert "0.0125 = 0.05 for 8 batches a step, scaled to 2" in str(meta["lr_rule"])
    assert {"halftrack", "torch", "python", "git"} == set(meta["versions"])


def test_loss_is_the_sum_of_the_terms_and_leaves_the_rest_out(
    tiny: ModuleType, tmp_path: Path
) -> None:
    tiny.run(tmp_path)
    for row in rows(tmp_path):
        if row["mode"] == "train":
            assert abs(row["loss"] - row["loss_fit"] - row["loss_size"]) < 1e-6


def test_without_a_terminal_progress_is_plain_lines(
    tiny: ModuleType, tmp_path: Path, capfd: object
) -> None:
    tiny.run(tmp_path)
    shown = capfd.readouterr().err
    assert "\x1b" not in shown
    words = " ".join(shown.split())
    for part in ("step 3/8", "loss", "lr", "scale", "s/step", "MB", "min left"):
        assert part in words
