"""Workers that die, fall silent, are told to end or find no shared memory."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halftrack.data import workers
from halftrack.data.workers import DataWorkerError, SampleWorkers

SQUARES = [key * key for key in range(12)]


def square(key: int) -> dict[str, Tensor]:
    return {"value": torch.full((3, 50), key * key), "none": torch.empty(0)}


def values(prepared: SampleWorkers[int, dict[str, Tensor]], processes: int = 2) -> list[int]:
    return [int(item["value"][0, 0]) for item in prepared.map(range(12), workers=processes)]


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_any_number_of_workers_gives_the_same(processes: int) -> None:
    prepared = SampleWorkers(square)
    assert values(prepared, processes) == SQUARES
    assert values(prepared, processes) == SQUARES  # a second pass, with the same processes
    prepared.close()


def test_signals_to_the_whole_group_leave_workers_at_work() -> None:
    def tell_itself(key: int) -> dict[str, Tensor]:
        if torch.utils.data.get_worker_info() is not None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
        return square(key)

    prepared = SampleWorkers(tell_itself)
    assert values(prepared) == SQUARES
    start = time.monotonic()
    prepared.close()
    assert time.monotonic() - start < 4  # no waiting for processes that ignore SIGTERM


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, r"process \d+\) was killed \(signal 9; out of memory\?\)"),
        (signal.SIGBUS, r"was killed \(signal 7; /dev/shm too small\?\)"),
        (None, r"ended with exit code 5"),
    ],
    ids=["kernel out of memory", "bus error", "a library that exits"],
)
@pytest.mark.parametrize("at", [0, 9])
def test_a_worker_that_dies_is_named(number: signal.Signals | None, message: str, at: int) -> None:
    def dies(key: int) -> dict[str, Tensor]:
        if key == at:
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            os._exit(5) if number is None else os.kill(os.getpid(), number)
        return square(key)

    prepared = SampleWorkers(dies)
    with pytest.raises(DataWorkerError, match=message):
        values(prepared)
    prepared.close()


@pytest.mark.parametrize("where", ["in a worker", "in the parent"])
def test_a_pass_that_an_error_ends_takes_its_workers_along_at_once(where: str) -> None:
    def bad(key: int) -> dict[str, Tensor]:
        if key == 3 and where == "in a worker":
            raise ValueError("a bad sample")
        return square(key)

    def learn() -> None:
        with closing(prepared.map(range(12), workers=2)) as items:
            for number, _ in enumerate(items):
                if number == 2 and where == "in the parent":
                    raise ValueError("a bad sample")

    prepared, before = SampleWorkers(bad), children()
    with pytest.raises(ValueError, match="a bad sample"):
        learn()
    assert children() == before  # nobody waits for the garbage collector
    if where == "in the parent":
        assert values(prepared) == SQUARES
        prepared.close()


def test_a_consumer_that_stops_early_takes_the_workers_along() -> None:
    prepared, before = SampleWorkers(square), children()
    with closing(prepared.map(range(12), workers=2)) as items:
        next(items)
    assert children() == before
    assert values(prepared) == SQUARES
    prepared.close()


def test_a_worker_killed_between_two_samples_does_not_break_into_a_step() -> None:
    prepared = SampleWorkers(square)
    items = prepared.map(range(400), workers=2)
    next(items)
    _, first = sorted(children())[-2:]
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:  # the training step, in which nothing is raised
        pass
    with pytest.raises(DataWorkerError, match="signal 9"):
        list(items)


class Kills:
    """A value that kills the worker it comes from while the parent takes it over."""

    def __reduce__(self) -> tuple[Callable[[int], str], tuple[int]]:
        return kill, (os.getpid(),)


def kill(pid: int) -> str:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    time.sleep(0.1)  # here the system tells of it
    return "taken over"


def test_a_worker_killed_while_its_sample_is_taken_over_does_not_break_into_that() -> None:
    with closing(SampleWorkers(lambda _: Kills()).map(range(2), workers=1)) as items:
        assert next(items) == "taken over"


def children() -> list[int]:
    return [int(each) for each in Path("/proc/thread-self/children").read_text().split()]


def test_a_stopped_worker_is_named_and_ended_at_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "NAMED_AFTER", 0.5)
    monkeypatch.setattr(workers, "ENDED_AFTER", 5.0)

    def stops(key: int) -> dict[str, Tensor]:
        if key == 3:
            os.kill(os.getpid(), signal.SIGSTOP)
        return square(key)

    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(DataWorkerError, match=r"number 1, .* sent nothing .* stopped.* was ended"),
    ):
        values(SampleWorkers(stops))
    assert "kill -CONT" in caplog.text


def test_a_slow_worker_is_named_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "NAMED_AFTER", 0.4)

    def slow(key: int) -> dict[str, Tensor]:
        time.sleep(1.0 if key == 3 else 0)
        return square(key)

    with caplog.at_level(logging.WARNING):
        assert values(SampleWorkers(slow)) == SQUARES
    assert "has sent nothing for" in caplog.text


def test_without_shared_memory_the_samples_are_the_same_and_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        @staticmethod
        def dumps(_: object) -> bytes:
            raise RuntimeError("unable to allocate shared memory(shm): No space left on device")

    monkeypatch.setattr(workers, "ForkingPickler", Full)
    monkeypatch.setattr(workers._Parcel, "_told", False)
    with caplog.at_level(logging.WARNING):
        assert values(SampleWorkers(square)) == SQUARES
    assert caplog.text.count("--shm-size") == 1
    assert "No space left on device" in caplog.text
    assert "training.workers=0" in caplog.text


SMALL = """
import torch
from halftrack.data.workers import SampleWorkers
items = SampleWorkers(lambda key: torch.full((1 << 20,), float(key))).map(range(20), workers=2)
kept = [item for item in items]  # 80 MB
print([int(item[0]) for item in kept] == list(range(20)))
"""


def test_a_container_with_little_shared_memory_does_not_hang() -> None:
    inside = f"mount -t tmpfs -o size=8m tmpfs /dev/shm && exec {sys.executable} -c '{SMALL}'"
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", inside]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no mounts of our own here: {done.stderr}")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert "--shm-size" in done.stderr
