"""Processes of one command, one a GPU: started by ``--gpus``, or by torchrun and its like."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from halftrack.errors import UserError

__all__ = ["command", "own_rank", "start_processes"]


def own_rank() -> int | None:
    """Number of this process among several that share a command; None if it is alone."""
    size, rank = (os.environ.get(name, "").strip() for name in ("WORLD_SIZE", "RANK"))
    return int(rank) if size not in ("", "1") and rank.isdecimal() else None


def start_processes(gpus: int | None, device: str | None) -> None:
    """Go on as ``gpus`` processes that torchrun starts, each with a GPU; None changes nothing.

    Args:
        gpus: as the user says.
        device: as the user says.

    Raises:
        UserError: without so many GPUs, or in a process that torchrun has started.
    """
    if gpus is None:
        return
    if own_rank() is not None:
        raise UserError(
            f"--gpus {gpus} in a process of torchrun, which says how many: leave it out"
        )
    if gpus == 1:
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
    os.execv(sys.executable, command(gpus, sys.argv[1:]))


def command(gpus: int, arguments: Sequence[str]) -> list[str]:
    """The command line of torchrun that starts the processes of these arguments.

    Args:
        gpus: processes.
        arguments: of the program, ``--gpus`` among them.
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--gpus":
            next(rest)
        elif not argument.startswith("--gpus="):
            kept.append(argument)
    run = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}")
    return [sys.executable, *run, "-m", "halftrack", *kept]
