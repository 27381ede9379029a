"""A run's numbers for TensorBoard and Weights & Biases: those of its log, no others."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from halftrack.errors import UserError
from halftrack.interop.logs.read import Line
from halftrack.studies.following.run import FollowedRun

__all__ = ["Exporter", "TensorBoard", "WeightsAndBiases", "check_package", "new_lines"]


class Exporter(Protocol):
    """A tool that keeps the numbers of runs."""

    def send(self, line: Line) -> None:
        """Hand over the numbers of a line."""

    def close(self) -> None:
        """Bring all of them to where they are kept."""


def check_package(option: str, package: str) -> None:
    """Make sure that a tool's package is installed.

    Raises:
        UserError: if it is not; says how to get it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"{option} needs {package}: install with `pip install halftrack[{package}]`"
        )


def new_lines() -> Callable[[FollowedRun], list[Line]]:
    """Returns the function that gives, each time, the lines that were not there before.

    A resumed run cuts its log back and writes the same lines again: those are not given twice.
    """
    given = 0

    def of(run: FollowedRun) -> list[Line]:
        nonlocal given
        lines = list(run.log.lines[given:])
        given += len(lines)
        return lines

    return of


def _named(line: Line) -> dict[str, float]:
    """Numbers by the names under which a tool shows them in groups."""
    group = "train" if line.training else "val"
    return {f"{group}/{name}": value for name, value in line.values.items()}


class TensorBoard:
    """Event files for TensorBoard.

    Args:
        folder: they are written to it; ``tensorboard --logdir`` takes the folder above it too.
        run: the run, whose settings become a text.
    """

    def __init__(self, folder: Path, run: FollowedRun) -> None:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer: Any = writer(str(folder))
        settings = "\n".join(f"    {name}: {value}" for name, value in run.settings().items())
        self._writer.add_text("settings", settings)

    def send(self, line: Line) -> None:
        """Write each number as a scalar, ``train/loss`` or ``val/ap50``."""
        for name, value in _named(line).items():
            self._writer.add_scalar(name, value, int(line.step))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; ``WANDB_MODE=offline`` keeps it on this machine.

    Args:
        project: name of the project.
        run: the run, whose name and settings are taken.
    """

    def __init__(self, project: str, run: FollowedRun) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run: Any = wandb.init(project=project, name=run.name, config=run.settings())

    def send(self, line: Line) -> None:
        """Log each number, ``train/loss`` or ``val/ap50``, at the line's step."""
        self._run.log(_named(line), step=int(line.step))

    def close(self) -> None:
        """Upload what is left, unless the mode is offline."""
        self._run.finish()
