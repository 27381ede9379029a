"""A model, a batch source and a run small enough to train, kill and resume hundreds of times."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from halftrack.precision import Precision
from halftrack.training import TrainingConfig, train

CPU = torch.device("cpu")
SHORT = TrainingConfig(
    epochs=2,
    lr=0.05,
    momentum=0.9,
    weight_decay=1e-4,
    max_grad_norm=35.0,
    warmup_steps=4,
    warmup_ratio=1 / 3,
    milestones=(1,),
    gamma=0.1,
    published_batches_per_step=8,
    accumulate=2,
    evaluate_every=1,
    best_metric="score",
    workers=0,
    log_every=3,
    checkpoint_every=1,
    keep_checkpoints=2,
    ema_decay=0.9,
)


@dataclass(frozen=True)
class TinyBatch:
    x: Tensor
    sample_ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> TinyBatch:
        return TinyBatch(self.x.to(device), self.sample_ids)


class TinySource:
    """Seven batches an epoch; their values are a function of (seed, epoch, index) alone."""

    def __init__(self, length: int = 7, *, poisoned: tuple[int, int] | None = None) -> None:
        self.length, self.poisoned = length, poisoned

    def __len__(self) -> int:
        return self.length

    def batches(
        self,
        *,
        seed: int,
        epoch: int,
        places: Sequence[int] | None = None,
        workers: int = 0,
        pin: bool = False,
    ) -> Iterator[TinyBatch]:
        for index in range(self.length) if places is None else places:
            name = f"{seed}/{epoch}/{index}"
            origin = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
            generator = torch.Generator(device="cpu").manual_seed(origin)
            x = torch.randn((3, 4), generator=generator, device="cpu")
            if (epoch, index) == self.poisoned:
                x = x * torch.inf
            yield TinyBatch(x, (name,))


class TinyModel(nn.Module):
    """Draws random numbers in its forward pass, as detectors do when they sample anchors."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator(device="cpu").manual_seed(0)
        self.backbone = nn.Linear(4, 5, device="cpu")
        self.norm = nn.BatchNorm1d(5, device="cpu")
        self.head = nn.Linear(5, 2, device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, device="cpu"))

    def forward(self, batch: TinyBatch) -> dict[str, Tensor]:
        out = self.head(self.norm(self.backbone(batch.x)))
        noise = torch.rand(out.shape, device=out.device)
        return {
            "loss_fit": (out - noise).square().mean().float(),
            "loss_size": 0.1 * out.square().mean().float(),
            "acc": out.detach().mean().float(),
        }


def score(model: nn.Module) -> dict[str, float]:
    return {"score": float(sum(p.detach().sum() for p in model.parameters()))}


def run(out: Path, config: TrainingConfig = SHORT, **overrides: object) -> tuple[TinyModel, object]:
    """Train a fresh tiny model in ``out``; what is not overridden is the short run."""
    model = overrides.pop("model", None) or TinyModel()
    given = {
        "batches": TinySource(),
        "precision": Precision(),
        "device": CPU,
        "evaluate": score,
        "recipe": {"name": "tiny"},
        "seed": 3,
    } | overrides
    return model, train(model=model, config=config, out=out, **given)


class Killed(BaseException):
    """Stands for a process that stops between two lines."""


class DyingSource(TinySource):
    """Ends the process, or raises, when a given sample of the run is asked for."""

    def __init__(self, at: int, *, signal_number: int | None = None) -> None:
        super().__init__()
        self.at, self.signal_number, self.served = at, signal_number, 0

    def batches(self, **where: object) -> Iterator[TinyBatch]:
        for batch in super().batches(**where):
            if self.served == self.at:
                if self.signal_number is None:
                    raise Killed
                os.kill(os.getpid(), self.signal_number)
            self.served += 1
            yield batch


if __name__ == "__main__":
    # python tiny.py OUT DIE_AT SIGNAL RESUME: a whole process to be killed.
    out, at, number, resume = sys.argv[1:5]
    result = run(
        Path(out),
        batches=DyingSource(int(at), signal_number=signal.Signals[number]),
        resume=resume == "resume",
    )[1]
    sys.exit(0 if result.interrupted is None else 128 + result.interrupted)
