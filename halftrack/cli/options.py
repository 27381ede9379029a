"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import number

__all__ = [
    "ClassNames",
    "DataRoot",
    "DetectorFile",
    "Device",
    "Gpus",
    "Init",
    "NativeHalf",
    "PrecisionName",
    "RangesEvery",
    "ReIDFile",
    "RecipeName",
    "RehearsedSteps",
    "Samples",
    "Seed",
    "Settings",
    "TestBatch",
    "Trust",
]

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Name of a recipe (`halftrack recipes` lists them), a Python file that assigns "
        "`recipe`, or a config of MMTracking.",
    ),
]
DataRoot = Annotated[
    Path,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help="Folder that contains the data sets (ILSVRC/, MOT17/, ...) as downloaded.",
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAMES",
        help="Tell these classes apart, e.g. car,bus; from-data takes those that the training "
        "annotations name. The model's last layer follows. Default: as the recipe says.",
    ),
]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="Compute in fp32, tf32, bf16 or fp16. Default: the recipe's precision.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field of the recipe, e.g. training.lr=0.02. Can be given several times; "
        "`halftrack show RECIPE` prints the fields.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        help="Seed of all random numbers.",
        metavar="N",
        parser=number(int, 0, 2**31 - 1),
    ),
]
RehearsedSteps = Annotated[
    int,
    typer.Option(
        "--steps",
        metavar="N",
        parser=number(int, 1, 1_000_000),
        help="Take N training steps.",
    ),
]
RangesEvery = Annotated[
    int,
    typer.Option(
        "--every",
        metavar="N",
        parser=number(int, 1, 1_000_000),
        help="Measure the ranges of all values every N steps.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Run on cpu, cuda, cuda:1, ... Default: the GPU, or the CPU without one.",
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        metavar="N",
        parser=number(int, 1, 1024),
        help="Share the work among N processes, each with a GPU of this machine, as torchrun "
        "starts them. Default: 1, or as torchrun says.",
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="FILE",
        help="Start from this checkpoint (of halftrack, MMTracking, torchvision, timm or "
        "detectron2). The word none means random weights. Default: as the recipe says, mostly "
        "ImageNet weights.",
    ),
]
DetectorFile = Annotated[
    str | None,
    typer.Option("--detector", metavar="FILE", help="Detector checkpoint (tracking recipes only)."),
]
ReIDFile = Annotated[
    str | None,
    typer.Option("--reid", metavar="FILE", help="ReID checkpoint (tracking recipes only)."),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load checkpoints that contain arbitrary Python objects. This runs code from the "
        "file: use it only for files you trust.",
    ),
]
TestBatch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        metavar="N",
        parser=number(int, 1, 1000),
        help="Give N frames of a video to the model at once. Results stay the same but for "
        "rounding; the memory needed grows with N. Default: 1 (data.test_batch).",
    ),
]
NativeHalf = Annotated[
    bool,
    typer.Option(
        "--native-half",
        help="Compute in bf16 by the CPU's own instructions, in the place of a GPU's rehearsed: "
        "faster than fp32 where the CPU has them.",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        "--clips",
        metavar="N",
        parser=number(int, 1, 100_000),
        help="Train on N samples in each step (clips, frames, crops or pairs). Default: as the "
        "recipe says.",
    ),
]
