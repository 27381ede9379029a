"""Rehearsal of a training script as it is: it runs on this CPU as if a GPU were there."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from halftrack.errors import MissingFileError, UserError
from halftrack.precision import Precision
from halftrack.precision.dtypes import HALF
from halftrack.rehearsing.report import Report
from halftrack.rehearsing.script_watch import EnoughSteps, ScriptWatch
from halftrack.rehearsing.stand_in import gpu_stood_in
from halftrack.rehearsing.unsupported import PACKAGE, unsupported

__all__ = ["ScriptRun", "run_script"]

_BEFORE = (__file__, runpy.__file__, "<frozen runpy>")
_FP32 = "the script entered no autocast region in half: it trains in fp32"


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """The end of a script, and what was seen until then."""

    report: Report | None
    """The findings; None if the script made no optimizer."""
    exit_code: int = 0
    """The script's own: 0 if it ended well or had taken its steps, 1 if it raised, 130 at Ctrl-C,
    or what it exited with."""
    refused: str | None = None
    """The part of a GPU that no CPU stands in for, with the script's line; None for none."""


def run_script(
    script: str,
    arguments: Sequence[str] = (),
    *,
    is_module: bool = False,
    steps: int = 50,
    every: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> ScriptRun:
    """Run a training script in this process as if a GPU were there, for some optimizer steps.

    The script decides everything: its autocast the dtypes, its ``GradScaler`` the loss scale, its
    optimizers what a step is. ``halftrack.watching`` is around it. It is ended out of its last
    step; Ctrl-C ends it earlier. A traceback of its own is printed to stderr. The stand-ins are
    taken away at the end; modules that it imported, and seeds and settings that it made, stay.

    Args:
        script: path of a Python file, or name of a module.
        arguments: those of the script.
        is_module: run it as ``python -m`` does.
        steps: attempted optimizer steps after which it is ended.
        every: how often ranges are measured, as ``watching`` takes it.
        progress: told (steps attempted, steps in all).

    Raises:
        UserError: for less than one step, and if there is no such file.
    """
    if steps < 1 or every < 1:
        raise UserError(f"steps={steps}, every={every}: expected at least 1")
    if not is_module and not Path(script).exists():
        raise MissingFileError(f"script {script}: there is no such file")
    code, error = 0, None
    watch = ScriptWatch(steps=steps, every=every, progress=progress)
    with gpu_stood_in() as dtypes:
        try:
            with watch, _as_python(script, arguments, is_module=is_module):
                if is_module:
                    runpy.run_module(script, run_name="__main__", alter_sys=True)
                else:
                    runpy.run_path(script, run_name="__main__")
        except BaseException as raised:
            if not _descends_from(raised, EnoughSteps):
                error, code = _from_the_script_on(raised), _exit_code(raised)
    refused = None
    if isinstance(error, Exception):
        _print_traceback(error)
        refused = unsupported(error)
    elif isinstance(error, SystemExit) and isinstance(error.code, str):
        print(error.code, file=sys.stderr)
    report = None if watch.watch is None else watch.watch.report
    if report is not None:
        report = _in_words(report, script, watch.models, dtypes, steps, error)
    return ScriptRun(report=report, exit_code=code, refused=refused)


@contextmanager
def _as_python(script: str, arguments: Sequence[str], *, is_module: bool) -> Iterator[None]:
    """Give a script the ``sys`` that python would start it with, and put it back at the end."""
    argv, path, folder = sys.argv, sys.path, os.getcwd()
    first = folder if is_module else os.path.dirname(os.path.realpath(script))
    sys.argv, sys.path = [script, *arguments], [first, *path[1:]]
    try:
        yield
    finally:
        sys.argv, sys.path = argv, path
        os.chdir(folder)


def _descends_from(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether it is of this kind, or was raised while one was handled: scripts end in own ways."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, kind):
        seen = seen.__context__
    return seen is not None


def _exit_code(error: BaseException) -> int:
    if _descends_from(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 1


def _from_the_script_on(error: BaseException) -> BaseException:
    """The error without the frames that led to the script."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _BEFORE:
        trace = trace.tb_next
    return error.with_traceback(trace)


def _print_traceback(error: Exception) -> None:
    """Print it as python would without the rehearsal."""
    told = traceback.TracebackException.from_exception(error)
    parts: list[traceback.TracebackException | None] = [told]
    for part in parts:
        if part is not None:
            kept = [frame for frame in part.stack if not frame.filename.startswith(PACKAGE)]
            part.stack = traceback.StackSummary.from_list(kept)
            parts += [part.__cause__, part.__context__]
    print("".join(told.format()), end="", file=sys.stderr)


def _name(error: BaseException) -> str:
    return "Ctrl-C" if _exit_code(error) == 130 else f"{type(error).__name__}: {error}"


def _in_words(
    report: Report,
    script: str,
    models: Collection[nn.Module],
    dtypes: Collection[torch.dtype],
    steps: int,
    error: BaseException | None,
) -> Report:
    """The report of a watch as that of a script."""
    weights = {p.dtype for model in models for p in model.parameters()}
    half = [dtype for dtype in HALF if dtype in dtypes] or [d for d in HALF if d in weights]
    notes = list(report.notes)
    precision = report.precision
    if report.steps and not half:
        precision = Precision.named("fp32")
        notes.append(_FP32)
    elif half and half[0] == torch.bfloat16:
        precision = Precision.named("bf16")
    elif all(step.loss_scale == 1.0 for step in report.steps):
        precision = Precision("fp16", 1.0)
    if error is not None:
        notes.append(f"ended after {len(report.steps)} of {steps} steps by {_name(error)}")
    return replace(
        report,
        name=f"{Path(script).name} ({', '.join(type(model).__name__ for model in models)})",
        precision=precision,
        planned_steps=steps,
        notes=tuple(notes),
        interrupted=_exit_code(error) == 130 if error is not None else False,
    )
