"""Is a CPU's own bf16 faster than fp32, and is it as far from fp32 as a GPU's, rehearsed?

    OMP_NUM_THREADS=1 python benchmarks/native_half.py [MODEL ...] [--rounds 5] [--size 304 544]

The four R50 models with the weights of the golden values: inference of a frame (of SELSA: a
reference and a frame; of ReID: 8 crops) in fp32 and in the CPU's own bf16 in turn, in CPU seconds;
and how far answers that no threshold decides are from fp32's, in shares of their norm, in the
rehearsed and the own bf16.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import (
    golden_detector,
    golden_reid,
    golden_selsa,
    golden_siamrpn,
    golden_video,
    machine,
    paired,
    spread,
)
from torch import Tensor

from halftrack.precision import Precision
from halftrack.precision.native import NativeHalf
from halftrack.recipes import spread_boxes

Size = tuple[int, int]
Call = Callable[[], Any]
FP32, REHEARSED, OWN = Precision(), Precision("bf16"), NativeHalf("bf16")


def of_detector(size: Size) -> tuple[Call, Call]:
    model, (frame,) = golden_detector().eval(), golden_video(1, *size)
    boxes = spread_boxes(50, size)

    def scores() -> Tensor:
        model.detect(frame)  # another precision's maps must not be kept
        return model.regress(frame, boxes)[1]

    return lambda: model.detect(frame), scores


def of_selsa(size: Size) -> tuple[Call, Call]:
    model, (reference, frame) = golden_selsa().eval(), golden_video(2, *size)
    boxes = spread_boxes(50, size)

    def detect() -> object:
        model.start([reference])
        return model.detect(frame)

    return detect, lambda: model.embed(model.features([frame]), [boxes])


def of_reid(size: Size) -> tuple[Call, Call]:
    model = golden_reid().eval()
    crops = torch.randn(8, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    return lambda: model.embed_images(crops), lambda: model.embed_images(crops)


def of_siamrpn(size: Size) -> tuple[Call, Call]:
    model, (frame,) = golden_siamrpn().eval(), golden_video(1, 255, 255)
    template = frame.image[:, 64:191, 64:191]

    def compare() -> Tensor:
        return model.compare(model.embed(template), frame.image)[0]

    return compare, compare


MODELS = {"detector": of_detector, "selsa": of_selsa, "reid": of_reid, "siamrpn": of_siamrpn}


def within(precision: Precision, call: Call) -> Any:
    with precision.inference("cpu"):
        return call()


def tell(name: str, *, rounds: int, size: Size) -> None:
    """A row of the table."""
    call, answer = MODELS[name](size)
    expected = within(FP32, answer)
    apart = [
        float((within(each, answer).float() - expected).norm() / expected.norm())
        for each in (REHEARSED, OWN)
    ]
    works = [lambda each=each: within(each, call) for each in (FP32, OWN)]
    rows = paired(works, rounds=rounds, clock=time.process_time)
    seconds = [statistics.median(row[place] for row in rows) for place in (0, 1)]
    print(
        f"| {name} | {seconds[0] * 1e3:.0f} ms | {seconds[1] * 1e3:.0f} ms | "
        f"{spread([row[1] / row[0] for row in rows])} | {apart[0]:.2e} | {apart[1]:.2e} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(304, 544))
    chosen = parser.parse_args()
    OWN.check_device("cpu")
    print("| model | fp32 | own bf16 | own / fp32 | rehearsed from fp32 | own from fp32 |")
    print("|---" * 6 + "|")
    for name in chosen.models:
        tell(name, rounds=chosen.rounds, size=tuple(chosen.size))
    print(f"\n{machine()}, {torch.backends.cpu.get_cpu_capability()}")


if __name__ == "__main__":
    main()
