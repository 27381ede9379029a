"""Logs of small runs, written as training writes them, in any state that a run can be in."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CULPRIT", "EVALUATED", "META", "SKIPPED", "trained", "write_run"]

META: dict[str, Any] = {
    "mode": "meta",
    "recipe": {
        "name": "tiny",
        "precision": {"name": "fp16"},
        "training": {"lr": 0.1, "best_metric": "ap50"},
    },
    "seed": 0,
    "device": "cpu",
    "versions": {"torch": "2"},
    "steps": 40,
}
CULPRIT = {
    "where": "head.fc",
    "operation": "addmm",
    "direction": "backward",
    "kind": "overflow",
    "loss_term": "loss_cls",
    "fits_at": 16384.0,
}
_PLACE = {"mode": "train", "epoch": 1}
SKIPPED = _PLACE | {
    "iter": 1,
    "step": 1,
    "lr": 0.1,
    "grad_norm": "inf",
    "loss_scale": 65536.0,
    "skipped": True,
    "sample_ids": ["a/000001", "<b>"],
    "culprit": CULPRIT,
}
EVALUATED = {"mode": "val", "epoch": 1, "iter": 20, "step": 20, "ap50": 0.5}


def trained(step: int, **fields: Any) -> dict[str, Any]:
    """A line of training."""
    usual = {"loss": 2.0 - step / 100, "lr": 0.1, "grad_norm": 1.0, "loss_scale": 16384.0}
    costs = {"time": 0.5, "data_share": 0.25, "memory": 900, "samples_per_second": 8.0}
    return _PLACE | {"iter": step, "step": step} | usual | costs | {"skipped": 1} | fields


def write_run(folder: Path, *records: Mapping[str, Any], running: bool = False) -> Path:
    """Write a run's folder with these lines in its log; returns the folder."""
    folder.mkdir(exist_ok=True)
    lines: Sequence[str] = [json.dumps(record) + "\n" for record in records]
    (folder / "log.jsonl").write_text("".join(lines), encoding="utf-8")
    lock = folder / "run.lock"
    lock.unlink(missing_ok=True)
    if running:
        lock.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    return folder
