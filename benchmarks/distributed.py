"""Two processes that share a step beside one that takes both batches, and what travels.

    python benchmarks/distributed.py [--rounds 10] [--shard optimizer]

Each process has one thread, and all take their steps in turns: one alone while the two wait, then
the two while it waits. Both processes of a pair need a core of their own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from measure import golden_detector, golden_reid, golden_video, machine, spread
from torch import Tensor

from halftrack.frames import CropBatch, FrameBatch
from halftrack.precision import Precision
from halftrack.recipes import load_recipe
from halftrack.training import Batch, Learner
from halftrack.training.placement import placed
from halftrack.training.processes.parts import Part
from halftrack.training.processes.sharded_learner import new_learner
from halftrack.training.ranks import together

CPU = torch.device("cpu")
MODELS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[], Batch]]] = {
    "Faster R-CNN R50-FPN, 2 images of 320x512": (
        golden_detector,
        lambda: FrameBatch(
            frames=tuple(
                replace(frame, labels=torch.zeros_like(frame.labels))
                for frame in golden_video(2, 320, 512)
            )
        ),
    ),
    "ReID R50, 32 crops of 256x128": (
        golden_reid,
        lambda: CropBatch(
            images=torch.rand(32, 3, 256, 128) * 255,
            labels=torch.arange(32) // 4,
            sample_ids=tuple(map(str, range(32))),
        ),
    ),
}


def serve(pipe: Connection, name: str, shard: str, environment: dict[str, str]) -> None:
    """Take a step whenever told; answer with its seconds and the bytes that it exchanged."""
    os.environ |= environment | {"OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    build, made = MODELS[name]
    with together(CPU) as ranks:
        sent = counted_bytes() if ranks.size > 1 else {}
        config = load_recipe("selsa_faster_rcnn_r50_dc5_1x_imagenetvid").training
        config = replace(config, lr=0.0, accumulate=2, shard=shard)
        model = placed(build(), config, Precision(), CPU)
        learner = new_learner(ranks, model, config, Precision(), CPU, 100)
        learner.begin_epoch(0)
        batch = made()
        while pipe.recv():
            sent |= dict.fromkeys(sent, 0)
            start = time.perf_counter()
            step(learner, batch, count=2 // ranks.size)
            pipe.send((time.perf_counter() - start, dict(sent)))


def step(learner: Learner, batch: Batch, *, count: int) -> None:
    """One step of so many batches."""
    for seed in range(count):
        learner.gradients(batch, seed)
    learner.step()


def counted_bytes() -> dict[str, int]:
    """The bytes of gradients to add up and of weights to copy or to join, counted from now on."""
    sent = {"gradients": 0, "weights": 0}
    exchange, broadcast, gather = dist.all_to_all_single, dist.broadcast, Part.gather

    def exchanged(received: Tensor, pieces: Tensor) -> Any:
        sent["gradients"] += pieces.nbytes
        return exchange(received, pieces)

    def copied(values: Tensor, *, src: int) -> Any:
        sent["weights"] += values.nbytes
        return broadcast(values, src=src)

    def gathered(part: Part) -> None:
        sent["weights"] += part.held.nbytes * dist.get_world_size()
        gather(part)

    dist.all_to_all_single, dist.broadcast, Part.gather = exchanged, copied, gathered
    return sent


def measured(name: str, shard: str, rounds: int) -> str:
    """A row of the table: the seconds of both, their ratio, and what travels."""
    context = multiprocessing.get_context("spawn")
    pair = [{"RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29611"}
    pipes, processes = [], []
    for environment in ({}, *(each | common for each in pair)):
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, name, shard, environment), daemon=True)
        process.start()
        pipes.append(here)
        processes.append(process)
    alone, ranks = pipes[:1], pipes[1:]
    rows: list[list[float]] = []
    sent: dict[str, int] = {}
    for number in range(rounds + 2):
        row = []
        for group in (alone, ranks):
            for pipe in group:
                pipe.send(True)
            answers = [pipe.recv() for pipe in group]
            row.append(max(seconds for seconds, _ in answers))
            sent = answers[0][1]
        if number >= 2:
            rows.append(row)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(False)
        process.join()
    one, two = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = spread([two / one for one, two in rows])
    told = " | ".join(f"{size / 1e6:.1f}" for size in sent.values())
    return f"| {name} | {shard} | {one:.2f} | {two:.2f} | {ratio} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--shard", choices=("none", "optimizer", "full"), default="none")
    options = parser.parse_args()
    print(machine())
    columns = ("step of two batches", "shard", "one process (s)", "two (s)", "ratio")
    print(f"| {' | '.join((*columns, 'gradients (MB)', 'weights (MB)'))} |")
    print(f"|{'---|' * (len(columns) + 2)}")
    for name in MODELS:
        if options.only in name:
            print(measured(name, options.shard, options.rounds), flush=True)


if __name__ == "__main__":
    main()
