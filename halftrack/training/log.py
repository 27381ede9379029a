"""Log of a run: one JSON object a line in ``log.jsonl``, and progress on the terminal.

Field names are MMTracking's (mode, epoch, iter, lr, memory, data_time, time, loss_*, loss,
grad_norm), plus data_share (data_time of time), samples_per_second (frames, crops or pairs), step,
loss_scale and skipped. The line of a skipped step has its culprit, and so has the ``stop`` line of
a run that ended at one. Times are seconds, memory is MB.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from halftrack.errors import reason_of
from halftrack.precision import StepReport
from halftrack.precision.loss_scale import scale_words
from halftrack.training.skipped import Explanation

__all__ = ["RunLog", "peak_memory_mb"]

BatchT = TypeVar("BatchT")
RowT = TypeVar("RowT")

_NEWLINE = b"\n"
_MUCH_WAITING = 0.25  # share of the time that a run waits for data from which on it is told


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far: the allocator's on an accelerator, the resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class RunLog:
    """The log of one run: means over ``every`` steps, and a line of its own for a skipped one.

    Args:
        path: the JSON-lines file; a resumed run first cuts it back to its checkpoint.
        every: steps between two train lines.
        device: whose memory is reported.
        total_steps: length of the run, for the display.
        console: where progress goes; plain lines where it is no terminal.
    """

    def __init__(
        self,
        path: Path,
        *,
        every: int,
        device: torch.device,
        total_steps: int,
        console: Console | None = None,
    ) -> None:
        self._path = path
        self._every = every
        self._device = device
        self._total_steps = total_steps
        self._console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._losses: list[dict[str, Tensor]] = []
        self._sample_ids: list[str] = []
        self._steps_in_window = 0
        self._samples_in_window = 0
        self._data_time = 0.0
        self._windows = 0
        self._told_waiting = False
        self._window_start = time.perf_counter()
        self._skipped = 0
        self._unwritten = b""

    def __enter__(self) -> Self:
        self._file = self._opened()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task("training", total=self._total_steps)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._write(b"")
        if self._unwritten:
            self.say(f"{self._path}: its last {self._unwritten.count(_NEWLINE)} lines are lost")
        self._file.close()

    def _opened(self) -> FileIO:
        # Unbuffered: what a full disk has not taken stays in ``_unwritten``, in its order.
        return self._path.open("a+b", buffering=0)

    def sync(self) -> None:
        """Bring the lines written so far to the disk, where it takes them."""
        with suppress(OSError):
            os.fsync(self._file.fileno())

    def state_dict(self) -> dict[str, Any]:
        """The unfinished window, the counts, and the bytes written, so that a resume cuts the rest.

        With what a full disk has not taken: a resumed run logs what an unbroken one logs.
        """
        self._follow_path()
        self._write(b"")
        losses = self.of_all(self._told_losses())
        written = {"position": self._file.tell(), "unwritten": self._unwritten.decode()}
        return {**written, "losses": losses, "skipped": self._skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to the checkpoint and take the unfinished window over."""
        position, size = int(state["position"]), os.fstat(self._file.fileno()).st_size
        if size < position:  # as after a power cut, which may have left half a line
            self.say(f"{self._path} is shorter than its checkpoint says: earlier lines are lost")
            self._file.seek(0)
            position = self._file.readall().rfind(_NEWLINE) + 1
        else:
            self._unwritten = state.get("unwritten", "").encode()  # a file may end within a line
        self._file.truncate(position)
        self._file.seek(0, os.SEEK_END)  # truncate leaves the position past the new end
        self._losses = [
            {name: torch.tensor(value, device=self._device) for name, value in row.items()}
            for row in state["losses"]
        ]
        self._skipped = int(state["skipped"])

    def expect(self, total_steps: int) -> None:
        """Set the length of the run anew, for the display."""
        self._total_steps = total_steps
        if self._progress is not None:
            self._progress.update(self._task, total=total_steps)

    def say(self, message: str) -> None:
        """One line for the person at the terminal."""
        (self._progress.console if self._progress else self._console).print(
            message, highlight=False, markup=False, soft_wrap=True
        )

    def note(self, **fields: Any) -> None:
        """Write one record; JSON has no NaN or infinity: they become "nan", "inf" and "-inf"."""
        finite = {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in fields.items()
        }
        self._write(json.dumps(finite, allow_nan=False).encode() + _NEWLINE)

    def _write(self, line: bytes) -> None:
        """Append to the file; what a full disk does not take is tried again with the next line."""
        told = bool(self._unwritten)
        self._unwritten += line
        try:
            while self._unwritten:
                written = self._file.write(self._unwritten)
                self._unwritten = self._unwritten[written:]
        except OSError as error:
            if not told:
                self.say(f"{reason_of(error)} while writing {self._path}; it is tried again")

    def _follow_path(self) -> None:
        """Open the file anew if it is no longer where it was, as after its folder was deleted."""
        with suppress(OSError):  # the folder is still away; the next checkpoint looks again
            if self._path.exists() and os.path.samestat(
                os.fstat(self._file.fileno()), self._path.stat()
            ):
                return
            before, self._file = self._file, self._opened()
            before.close()
            self.say(f"{self._path} was gone: its earlier lines are lost, it goes on from here")

    def timed(self, loader: Iterable[BatchT]) -> Iterator[BatchT]:
        """The loader's batches; the time spent waiting for them is logged as ``data_time``."""
        batches = iter(loader)
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._data_time += time.perf_counter() - start
            yield batch

    def batch(
        self, losses: Mapping[str, Tensor], sample_ids: Sequence[str], *, batches: int = 1
    ) -> None:
        """Remember a pass's losses, without waiting for the device.

        Args:
            losses: of the pass.
            sample_ids: of the pass.
            batches: how many it took; its losses are their means.
        """
        self._losses += [{name: value.detach() for name, value in losses.items()}] * batches
        self._sample_ids += sample_ids

    def record(
        self,
        report: StepReport,
        *,
        lr: float,
        epoch: int,
        iteration: int,
        step: int,
        why: Explanation | None = None,
    ) -> None:
        """Close one step; ``epoch`` and ``iteration`` (within the epoch) are 1-based.

        ``why`` explains a skipped one.
        """
        self._steps_in_window += 1
        self._samples_in_window += len(self._sample_ids)
        sample_ids, self._sample_ids = self._sample_ids, []
        scale = scale_words(report.loss_scale)
        if self._progress is not None:
            self._progress.update(self._task, completed=step)
        place = {"mode": "train", "epoch": epoch, "iter": iteration, "step": step, "lr": lr}
        precision = {
            "grad_norm": report.grad_norm,
            "loss_scale": report.loss_scale,
            "skipped": report.skipped,
        }
        if report.skipped:
            self._skipped += 1
            told = why.fields() if why else {"sample_ids": sample_ids, "culprit": None}
            self.note(**place, **precision, **told)
            self.say(
                f"step {step}: skipped, non-finite gradients at loss scale {scale} "
                f"({self._skipped} skipped so far){': ' + why.sentence if why else ''}"
            )
        if step % self._every and step != self._total_steps:
            return
        means = self._mean_losses()
        seconds = time.perf_counter() - self._window_start
        share = self._data_time / seconds if seconds else 0.0
        speed = sum(self.of_all([self._samples_in_window])) / seconds if seconds else 0.0
        fields = {
            **place,
            "memory": round(peak_memory_mb(self._device)),
            "data_time": self._data_time / self._steps_in_window,
            "data_share": share,
            "samples_per_second": speed,
            "time": seconds / self._steps_in_window,
            **means,
            **precision,
            "skipped": self._skipped,
        }
        self.note(**fields)
        shown = f"loss {means.get('loss', float('nan')):.4f}  lr {lr:.5f}  scale {scale}"
        if self._progress is not None:
            self._progress.update(self._task, description=f"epoch {epoch}  {shown}")
        else:
            left = (self._total_steps - step) * seconds / self._steps_in_window
            self.say(
                f"epoch {epoch}  step {step}/{self._total_steps}  {shown}  "
                f"{fields['time']:.3f} s/step  {speed:.1f} samples/s  data {share:.0%}  "
                f"{fields['memory']} MB  {left / 60:.1f} min left"
            )
        self._tell_waiting(share, speed, step)
        self._data_time, self._steps_in_window, self._samples_in_window = 0.0, 0, 0
        self._window_start = time.perf_counter()

    def _tell_waiting(self, share: float, speed: float, step: int) -> None:
        """Say, once a run, that data are the bottleneck; the first window starts the workers."""
        self._windows += 1
        if self._windows > 1 and share >= _MUCH_WAITING and not self._told_waiting:
            self._told_waiting = True
            self.say(
                f"step {step}: data are the bottleneck: {share:.0%} of the time since the last "
                f"line went by waiting for them: {speed:.1f} samples/s came, steps could take "
                f"{_without_waiting(speed, share)}; more training.workers may help"
            )

    def of_all(self, rows: list[RowT]) -> list[RowT]:
        """Rows of every process that shares the run, in their order: here of the only one."""
        return rows

    def _mean_losses(self) -> dict[str, float]:
        """Means over the window."""
        rows = self.of_all(self._told_losses())
        self._losses = []
        if not rows:
            return {}
        names = list(rows[0])
        table = torch.tensor([[row[name] for name in names] for row in rows], device="cpu")
        means = dict(zip(names, table.mean(0).tolist(), strict=True))
        return means | {"loss": sum(v for name, v in means.items() if name.startswith("loss"))}

    def _told_losses(self) -> list[dict[str, float]]:
        """The window's losses, read from the device at once (host sync)."""
        if not self._losses:
            return []
        names = list(self._losses[0])
        table = [torch.stack([row[name].float() for name in names]) for row in self._losses]
        return [dict(zip(names, row, strict=True)) for row in torch.stack(table).tolist()]


def _without_waiting(speed: float, share: float) -> str:
    """The samples a second of steps that never wait for data."""
    return f"{speed / (1 - share):.1f}" if share < 1 else "more"
