"""Several processes that share a run, forked from a test: torch is not imported once more."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

PATIENCE = 240.0


def in_processes(count: int, function: Callable[[], Any]) -> list[Any]:
    """What ``function`` gives in each of ``count`` processes that torch's environment connects."""
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        here, there = context.Pipe(duplex=False)
        where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
        process = context.Process(target=_run, args=(there, where, function))
        process.start()
        there.close()
        started.append((process, here))
    answers = []
    try:
        for process, pipe in started:
            assert pipe.poll(PATIENCE), f"{process.name} has not answered"
            answers.append(pickle.loads(pipe.recv_bytes()))
            failed = isinstance(answers[-1], str) and answers[-1].startswith("Traceback")
            assert not failed, f"{process.name}: {answers[-1]}"
    finally:
        for process, pipe in started:
            pipe.close()
            process.join(5.0 if len(answers) == count else 0.0)
            process.kill()
            process.join()
    return answers


def _run(pipe: Connection, where: dict[str, int], function: Callable[[], Any]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    os.environ |= {name: str(value) for name, value in where.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    try:
        answer = function()
    except BaseException:
        answer = traceback.format_exc()
    pipe.send_bytes(pickle.dumps(answer))
    pipe.close()
