"""``halftrack run``: an unchanged script, its report, exit codes, Ctrl-C and progress."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from halftrack.cli.run import _line_of_progress

SCRIPT = """
import os, signal, sys
import torch
from torch import nn

print("arguments", *sys.argv[1:])
torch.manual_seed(0)
net = nn.Linear(4, 2).to("cuda")
with torch.no_grad():
    net.weight.mul_(1e6 if "--wide" in sys.argv else 1.0)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda", init_scale=256.0)
for number in range(5):
    with torch.autocast("cuda"):
        loss = net(torch.ones(3, 4, device="cuda")).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if number == 1 and "--graph" in sys.argv:
        torch.cuda.CUDAGraph()
    if number == 1 and "--stop" in sys.argv:
        os.kill(os.getpid(), signal.SIGINT)
sys.exit(7 if "--seven" in sys.argv else 0)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_reports_and_writes_the_page(halftrack, place: Path, capsys) -> None:
    assert halftrack("run", "train.py", "--steps", 3, "--", "--amp", "") == 0
    told = capsys.readouterr().out
    assert told.startswith("arguments --amp \n")
    assert "Rehearsal of train.py (Linear) in fp16, 3 steps" in told
    assert "nothing must change" in told
    written = place / "runs" / "train_rehearsal"
    assert f"written to {written / 'rehearsal.html'}" in told
    assert json.loads((written / "rehearsal.json").read_text())["must_change"] == []


@pytest.mark.parametrize(
    ("argument", "steps", "code", "words"),
    [
        ("--wide", 3, 3, "must change"),
        ("--seven", 9, 7, "Rehearsal of"),
        ("--stop", 9, 130, "2 of 9 steps by Ctrl-C"),
        ("--graph", 9, 2, "Rehearsal of"),
    ],
)
def test_the_exit_code_is_that_of_the_verdict_or_the_script(
    halftrack, place: Path, capsys, argument: str, steps: int, code: int, words: str
) -> None:
    assert halftrack("run", "train.py", "--steps", steps, "--out", "o", "--", argument) == code
    told = capsys.readouterr()
    assert words in told.out.replace("\n", " ")
    assert (place / "o" / "rehearsal.html").is_file()
    if argument == "--graph":
        assert told.err.endswith(
            "error: train.py:20: torch.cuda.CUDAGraph: no CPU can stand in for it; leave it out "
            "of this run\n"
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.py",), "SCRIPT none.py: there is no such file"),
        (("nothing.py",), "nothing.py made no optimizer of torch.optim"),
        (("train.py", "--out", "train.py"), "--out"),
    ],
)
def test_a_mistake_is_told(halftrack, place: Path, capsys, arguments, words: str) -> None:
    (place / "nothing.py").write_text("")
    assert halftrack("run", *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_module_is_named_with_its_dots(halftrack, place: Path, capsys) -> None:
    assert halftrack("run", "-m", "train", "--steps", 1) == 0
    assert (place / "runs" / "train_rehearsal" / "rehearsal.html").is_file()
    sys.modules.pop("train", None)


def test_progress_estimates_from_the_first_step_on_and_never_tells_a_step_twice(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    # The first line at 100 s, and then a step every 6 s; two of them end with two optimizers.
    moments = iter([100.0, 106.0, 112.0, 112.0, 118.0, 118.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    told = _line_of_progress()
    for done in (1, 2, 3, 3, 4, 4):
        told(done, 4)
    assert capsys.readouterr().err.splitlines() == [
        "halftrack: step 1 of 4",
        "halftrack: step 3 of 4, about 6 s left",
        "halftrack: step 4 of 4, about 0 s left",
    ]


def test_on_a_terminal_it_tells_of_progress_on_stderr_alone(place: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "halftrack", "run", "train.py", "--steps", "2"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    told = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "halftrack: step 1 of 2\r\n" in told
    assert "halftrack: step 2 of 2, about 0 s left" in told
    assert "halftrack: step" not in answer.stdout.decode()
