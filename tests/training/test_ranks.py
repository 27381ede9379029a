"""Ranks share the places of an epoch, tell each other values, and say what is wrong with torch's
environment."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch
import torch.distributed as dist
from processes import in_processes

from halftrack.errors import UserError
from halftrack.training.ranks import (
    ALONE,
    FirstProcessError,
    LostProcessError,
    Ranks,
    _store,
    own_device,
    together,
)

CPU = torch.device("cpu")


def test_places_of_each_step_are_shared_in_the_order_of_ranks() -> None:
    shares = [Ranks(rank, 2).places(range(4, 12), together=4) for rank in range(2)]
    assert shares == [[4, 5, 8, 9], [6, 7, 10, 11]]
    assert list(ALONE.places(range(4, 12), together=4)) == list(range(4, 12))


def test_a_step_is_shared_evenly_or_refused() -> None:
    assert Ranks(0, 4).share(8, of="training.accumulate") == 2
    assert ALONE.share(7, of="training.accumulate") == 7
    with pytest.raises(UserError, match=r"=6: 4 processes .* --set training.accumulate=8"):
        Ranks(0, 4).share(6, of="training.accumulate")


def test_one_process_tells_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert ALONE.gathered("a") == ALONE.gathered_by_first("a") == ["a"]
    assert ALONE.of_first("a") == "a"
    assert ALONE.greatest(2.5, CPU) == 2.5
    ALONE.say("a line")
    Ranks(1, 2).say("another's")
    assert capsys.readouterr().out == "a line\n"


def test_processes_tell_each_other() -> None:
    def told() -> tuple[object, ...]:
        with together(CPU) as ranks:
            with ranks.first_goes_first():
                turn = ranks.rank
            return (
                ranks.gathered(ranks.rank),
                ranks.gathered_by_first({"rank": ranks.rank}),
                ranks.of_first(ranks.rank),
                ranks.greatest(float(ranks.rank), CPU),
                ranks.rows(torch.tensor([ranks.rank, 7.0])).tolist(),
                turn,
            )

    rows = [[0.0, 7.0], [1.0, 7.0]]
    first, second = in_processes(2, told)
    assert first == ([0, 1], [{"rank": 0}, {"rank": 1}], 0, 1.0, rows, 0)
    assert second == ([0, 1], [], 0, 1.0, rows, 1)


def test_what_the_first_process_does_all_know_the_answer_or_the_error_of() -> None:
    def told() -> list[object]:
        done: list[int] = []
        answers: list[object] = []

        def fail(error: Exception) -> None:
            raise error

        with together(CPU) as ranks:
            answers.append(ranks.first_does(lambda: done.append(ranks.rank) or "done"))
            answers.append(type(ranks.first_does(lambda: KeyError("an answer"))).__name__)
            for error in (UserError("in use"), OSError(28, "no space left", "a file")):
                with pytest.raises(type(error)) as met:
                    ranks.first_does(partial(fail, error))
                answers.append(str(met.value))
                assert isinstance(met.value.__cause__, FirstProcessError) is not ranks.is_first
            with pytest.raises(UserError, match="no data") as met, ranks.first_goes_first():
                fail(UserError("no data"))
            assert isinstance(met.value.__cause__, FirstProcessError) is not ranks.is_first
            return [*answers, done]

    words = ["done", "KeyError", "in use", "[Errno 28] no space left: 'a file'"]
    assert in_processes(2, told) == [[*words, [0]], [*words, []]]
    with pytest.raises(UserError, match="alone"):
        ALONE.first_does(lambda: (_ for _ in ()).throw(UserError("alone")))


def test_the_end_of_another_process_is_told() -> None:
    def left_alone() -> str:
        try:
            with together(CPU) as ranks:
                if ranks.gathered(ranks.rank) and ranks.rank == 1:
                    return "ended"
                ranks.greatest(1.0, CPU)
        except LostProcessError as error:
            return str(error)
        return "told nothing"

    first, second = in_processes(2, left_alone)
    assert first.startswith("another of 2 processes has ended")
    assert second == "ended"


def test_each_start_of_torchrun_finds_no_address_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(agent.port), "RANK": "1"}
    told |= {"WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True", "GROUP_WORLD_SIZE": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    stores = []
    for count in ("0", "1", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        stores.append(_store())
    stores[0].set("address", "of a killed process")
    assert [store.check(["address"]) for store in stores] == [True, False, False]
    stores[1].set("address", "of its successor")
    assert stores[2].get("address") == b"of its successor"
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")  # machines count their starts differently
    _store().set("shared", "")
    assert agent.check(["shared"])


def test_an_error_of_this_process_stays_what_it_is() -> None:
    def failed() -> str:
        with pytest.raises(RuntimeError) as error, together(CPU):
            raise RuntimeError("its own")
        return str(error.value)

    assert in_processes(2, failed) == ["its own", "its own"]


@pytest.mark.parametrize(("local", "threads"), [("2", 3), ("9", 1)])
def test_a_process_on_a_cpu_takes_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, local: str, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))

    def threads_here() -> int:
        del os.environ["OMP_NUM_THREADS"]
        os.environ["LOCAL_WORLD_SIZE"] = local
        with together(CPU):
            return torch.get_num_threads()

    assert in_processes(2, threads_here) == [threads, threads]


@pytest.mark.parametrize("value", ["1", " 1 ", "", None])
def test_one_process_connects_nothing(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if value is not None:
        monkeypatch.setenv("WORLD_SIZE", value)
    with together(CPU) as ranks:
        assert ranks == ALONE
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 in the environment: expected 1 or more"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two' in the environment: expected a whole number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, but RANK and MASTER_ADDR and MASTER_PORT are not set"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "1"}, "but MASTER_ADDR is not set"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"},
            "RANK=2, WORLD_SIZE=2: expected 0 to 1",
        ),
    ],
)
def test_an_environment_that_cannot_be_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message), together(CPU):
        pass


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    named = torch.device("cuda:1")
    assert own_device(named) == named
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device(torch.device("cuda")) == torch.device("cuda:1")
    assert own_device(CPU) == CPU
    with pytest.raises(UserError, match=r"cuda:1 \(--device\) for several processes"):
        own_device(named)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="LOCAL_RANK=2: this machine has 2 GPUs"):
        own_device(torch.device("cuda"))
