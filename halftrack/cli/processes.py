"""Processes of one command, one a GPU: started by ``--gpus``, or by torchrun and its like."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from halftrack.errors import UserError

__all__ = ["command", "own_rank", "start_processes"]

_OURS = ("--gpus", "--max-restarts")  # what torchrun takes in other words


def own_rank() -> int | None:
    """Number of this process among several that share a command; None if it is alone."""
    size, rank = (os.environ.get(name, "").strip() for name in ("WORLD_SIZE", "RANK"))
    return int(rank) if size not in ("", "1") and rank.isdecimal() else None


def start_processes(gpus: int | None, device: str | None, *, restarts: int = 0) -> None:
    """Go on as ``gpus`` processes that torchrun starts, each with a GPU; None changes nothing.

    Args:
        gpus: as the user says.
        device: as the user says.
        restarts: how often they are started again when one of them fails or is killed.

    Raises:
        UserError: without so many GPUs, or in a process that torchrun has started.
    """
    if gpus is None:
        if restarts:
            raise UserError(
                f"--max-restarts {restarts} is for the processes that --gpus starts: add --gpus, "
                f"or start them by torchrun --max-restarts {restarts}"
            )
        return
    if own_rank() is not None:
        raise UserError(
            f"--gpus {gpus} in a process of torchrun, which says how many: leave it out"
        )
    if gpus == 1 and not restarts:
        return
    if device not in (None, "cuda"):
        raise UserError(f"--gpus {gpus} with --device {device}: leave one of them out")
    from torch import cuda

    if gpus > (count := cuda.device_count()):
        raise UserError(
            f"--gpus {gpus}: this machine has {count}. On its CPU: torchrun --nproc-per-node "
            f"{gpus} -m halftrack {' '.join(sys.argv[1:2])} ... --device cpu"
        )
    sys.stdout.flush()
    os.execv(sys.executable, command(gpus, sys.argv[1:], restarts=restarts))


def command(gpus: int, arguments: Sequence[str], *, restarts: int = 0) -> list[str]:
    """The command line of torchrun that starts the processes of these arguments.

    Args:
        gpus: processes.
        arguments: of the program, ``--gpus`` and ``--max-restarts`` among them.
        restarts: how often they are started again.
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in _OURS:
            next(rest)
        elif argument.partition("=")[0] not in _OURS:
            kept.append(argument)
    run = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    run += [f"--max-restarts={restarts}"] if restarts else []
    return [sys.executable, *run, "-m", "halftrack", *kept]
