"""The training loop, in sight: one function from the first batch to the last checkpoint.

It knows no task: a module that returns losses, a source of batches, an evaluation to call.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from halftrack.precision import NonFiniteGradientError, Precision, optimizer_step
from halftrack.training.batches import Batch, BatchSource
from halftrack.training.config import TrainingConfig
from halftrack.training.optimiser import apply_phases
from halftrack.training.run import Run, TrainingResult, placed

__all__ = ["clip_seed", "total_loss", "train"]


def train(
    *,
    model: nn.Module,
    batches: BatchSource,
    config: TrainingConfig,
    precision: Precision,
    out: Path,
    device: torch.device,
    seed: int = 0,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    recipe: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> TrainingResult:
    """Train ``model`` and leave ``log.jsonl``, ``step_N.pth`` and ``best.pth`` in ``out``.

    Steps and epochs count attempts; the schedule and the weight average count taken steps. A clip's
    randomness is a function of (seed, epoch, index), so a resumed run equals an unbroken one bit
    for bit on a CPU.

    Raises:
        NonFiniteGradientError: a gradient that no smaller loss scale can mend.
        FileNotFoundError, ValueError: ``resume`` without a checkpoint, or with one of another
        recipe or seed.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = placed(model, config, device)
    precision.keep_in_fp32(model)
    run = Run(
        model=model,
        clips=len(batches),
        config=config,
        precision=precision,
        out=out,
        device=device,
        seed=seed,
        recipe=recipe or {},
    )
    result = run.result
    with run.log, _signals() as received:
        run.begin(resume=resume)
        for epoch in range(run.epochs_finished, config.epochs):
            apply_phases(model, config.phases, epoch)
            clips: list[tuple[Batch, int]] = []  # and seeds of the step under way
            for index, clip in _clips(batches, run, seed=seed, epoch=epoch, device=device):
                # Sampled anchors and rois follow from the clip's place alone: no resume can change
                # them.
                clips.append((clip, clip_seed(seed, epoch, index)))
                torch.manual_seed(clips[-1][1])
                with precision.arithmetic(device):
                    with precision.autocast(device):
                        losses = model(clip)
                    loss = run.loss_scale.scale(total_loss(losses) / config.accumulate)
                    loss.backward()
                run.log.clip(losses, clip.sample_ids)
                run.clips_done += 1
                if run.clips_done % config.accumulate:
                    continue
                try:
                    report = optimizer_step(
                        [run.optimizer], run.loss_scale, max_grad_norm=config.max_grad_norm
                    )
                except NonFiniteGradientError as error:
                    run.explain_stop(error, clips, epoch=epoch)
                    raise
                result.steps += 1
                result.skipped += report.skipped
                result.loss_scale = run.loss_scale.value
                lr, why = run.schedule.lr, None
                if report.skipped:
                    run.statistics.put_back()
                    why = run.skips.explain(
                        clips, loss_scale=report.loss_scale, epoch=epoch, step=result.steps
                    )
                else:
                    run.schedule.step()
                    run.average.update(model)
                    run.statistics.keep()
                clips.clear()
                run.log.record(
                    report,
                    lr=lr,
                    epoch=epoch + 1,
                    iteration=(index + 1) // config.accumulate,
                    step=result.steps,
                    why=why,
                )
                if received:
                    return run.stop(received[0])
                if config.checkpoint_every and result.steps % config.checkpoint_every == 0:
                    run.save()
            run.finish_epoch(evaluate)
    return result


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of everything named ``loss...``; other entries are only logged.

    Raises:
        ValueError: if there is no such entry; lists those there are.
    """
    terms = [value for name, value in losses.items() if name.startswith("loss")]
    if not terms:
        raise ValueError(f"the model returned no entry named loss..., only {sorted(losses)}")
    return torch.stack(terms).sum()


def _clips(
    batches: BatchSource, run: Run, *, seed: int, epoch: int, device: torch.device
) -> Iterator[tuple[int, Batch]]:
    """What is left of an epoch: each clip with its place in it, on the device."""
    first = run.clips_done - epoch * run.clips_per_epoch
    loader = batches.batches(
        seed=seed,
        epoch=epoch,
        start=first,
        stop=run.clips_per_epoch,
        workers=run.config.workers,
        pin=device.type == "cuda",
    )
    for index, clip in enumerate(run.log.timed(loader), start=first):
        yield index, clip.to(device)


def clip_seed(seed: int, epoch: int, index: int) -> int:
    """63 bits that depend on all three numbers, whatever their size."""
    digest = hashlib.sha256(f"{seed}:{epoch}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM so that the step can end first; a second one acts at once.

    Outside the main thread Python cannot handle signals, and nothing is collected.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def collect(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for number in before:
            signal.signal(number, collect)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
