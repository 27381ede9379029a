from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from rich.console import Console

from halftrack.precision import StepReport
from halftrack.training.log import RunLog

FIELDS = {
    "mode",
    "epoch",
    "iter",
    "step",
    "lr",
    "memory",
    "data_time",
    "data_share",
    "samples_per_second",
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


def test_a_log_that_is_deleted_goes_on_in_a_new_file_from_the_next_checkpoint_on(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Deleting(tiny.TinySource):
        def batches(self, **where: object) -> Iterator[object]:
            for place, batch in enumerate(super().batches(**where)):
                if (where["epoch"], place) == (1, 2):
                    (tmp_path / "log.jsonl").unlink()
                yield batch

    tiny.run(tmp_path, batches=Deleting())
    assert [row["step"] for row in rows(tmp_path) if row["mode"] == "train"] == [8]
    assert " ".join(capfd.readouterr().err.split()).count("log.jsonl was gone") == 1
    assert b"\0" not in (tmp_path / "log.jsonl").read_bytes()


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
    for part in (
        "step 3/8",
        "loss",
        "lr",
        "scale",
        "s/step",
        "samples/s",
        "data",
        "MB",
        "min left",
    ):
        assert part in words


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        ((0, 0, 0, 0), []),
        ((1, 1, 1, 1), []),  # 10% of a step of 10 seconds
        ((9, 9, 0, 0), []),  # the first window starts the workers
        ((0, 0, 5, 6), ["step 4: data are the bottleneck: 55% of the time"]),
        ((9, 9, 4, 4, 9, 9), ["step 4: data are the bottleneck: 40% of the time"]),
    ],
)
def test_a_run_that_waits_for_data_is_told_so_once(
    waits: tuple[int, ...], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("halftrack.training.log.time", SimpleNamespace(perf_counter=lambda: now))
    console = Console(file=io.StringIO())
    log = RunLog(
        tmp_path / "log.jsonl",
        every=2,
        device=torch.device("cpu"),
        total_steps=len(waits),
        console=console,
    )

    def loader() -> Iterator[int]:
        nonlocal now
        for seconds in waits:
            now += seconds
            yield seconds

    report = StepReport(
        skipped=False, found_inf=False, grad_norm=1.0, loss_scale=1.0, consecutive_skips=0
    )
    with log:
        for step, waited in enumerate(log.timed(loader()), start=1):
            now += 10 - waited
            log.batch({"loss": torch.zeros(())}, ["a frame", "another", "a third"])
            log.record(report, lr=0.1, epoch=1, iteration=step, step=step)
    lines = console.file.getvalue().splitlines()
    found = [line for line in lines if "data are the bottleneck" in line]
    assert len(found) == len(told)
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True))
    # 3 samples in a step of 10 seconds, 4.5 or 4 of which it computed.
    taken = ["steps could take 0.7;", "steps could take 0.5;"]
    assert all(any(need in line for need in taken) for line in found)
    shares = [row["data_share"] for row in rows(tmp_path)]
    assert shares == [sum(waits[at : at + 2]) / 20 for at in range(0, len(waits), 2)]
    assert {row["samples_per_second"] for row in rows(tmp_path)} == {0.3}
