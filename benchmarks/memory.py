"""Peak live bytes of a SELSA R50 training step, and what each measure saves and costs.

    python benchmarks/memory.py [--rounds 10]

Key + 2 references at 3x608x1008, SGD with momentum, as in the table of published figures. The
reference implementation holds 2.91 GiB in fp32 and 1.83 GiB in fp16. All variants take turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from measure import golden_selsa, learner, machine, paired, spread, training_clip
from torch import Tensor, nn

from halftrack.layers import resnet
from halftrack.precision import LiveBytes, Precision

FP32, BF16, FP16 = Precision(), Precision("bf16"), Precision("fp16", 512.0)


@contextmanager
def unfolded() -> Iterator[None]:
    """Frozen BN computed on its own, as other frameworks do."""

    def plain(x: Tensor, conv: nn.Conv2d, bn: nn.BatchNorm2d, *_: object) -> Tensor:
        normed: Tensor = bn(conv(x))
        return normed

    before = resnet.conv_bn, resnet.fold
    resnet.conv_bn, resnet.fold = plain, lambda layers: {}
    try:
        yield
    finally:
        resnet.conv_bn, resnet.fold = before


class Variant:
    """One way to train, with its own model."""

    def __init__(
        self, name: str, precision: Precision, *, fold: bool = True, recompute: tuple[int, ...] = ()
    ) -> None:
        self.name, self._fold = name, fold
        self._learner = learner(golden_selsa(recompute=recompute), precision)
        self._clip = training_clip(608, 1008)

    def step(self) -> None:
        """One whole training step."""
        if not self._fold:
            with unfolded():
                self._attempt()
        else:
            self._attempt()

    def peak(self) -> LiveBytes:
        """The meter after a step with momentum in place."""
        self.step()
        meter = LiveBytes(self._learner.model, [self._learner.optimizer])
        with meter:
            self.step()
        return meter

    def _attempt(self) -> None:
        self._learner.gradients(self._clip, seed=0)
        assert not self._learner.step().skipped


VARIANTS: dict[str, Callable[[str], Variant]] = {
    "fp32, BN on its own": lambda name: Variant(name, FP32, fold=False),
    "fp32": lambda name: Variant(name, FP32),
    "fp16, BN on its own": lambda name: Variant(name, FP16, fold=False),
    "fp16": lambda name: Variant(name, FP16),
    "bf16": lambda name: Variant(name, BF16),
    "fp16, stage 2 recomputed": lambda name: Variant(name, FP16, recompute=(2,)),
    "fp16, stages 2 and 3 recomputed": lambda name: Variant(name, FP16, recompute=(2, 3)),
    "fp16, stages 2 to 4 recomputed": lambda name: Variant(name, FP16, recompute=(2, 3, 4)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    variants = [make(name) for name, make in VARIANTS.items()]
    meters = [variant.peak() for variant in variants]
    rows = paired([variant.step for variant in variants], rounds=rounds, warm_up=0)
    kinds = list(meters[0].peak_by_kind)
    print("| | peak (GiB) |", " | ".join(f"{kind} (MiB)" for kind in kinds), "| time / fp16 |")
    print("|---" * (len(kinds) + 3) + "|")
    plain = list(VARIANTS).index("fp16")
    for column, (variant, meter) in enumerate(zip(variants, meters, strict=True)):
        parts = " | ".join(f"{meter.peak_by_kind[kind] / 2**20:.0f}" for kind in kinds)
        time = spread([row[column] / row[plain] for row in rows])
        print(f"| {variant.name} | {meter.peak / 2**30:.2f} | {parts} | {time} |")
    print(machine())


if __name__ == "__main__":
    main()
