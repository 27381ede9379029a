"""Does rehearsed TF32 do to products what it says, and to a step what a GPU did?

    python benchmarks/tf32.py [products] [steps] [--size 320 512]

Products: every convolution and linear layer of SELSA R50 (``rounding.py``), forward and both
gradients. Operands are compared bit by bit with numbers of 11 significant bits found in fp64, ties
away from zero; results with fp64 arithmetic on those operands. The bound is what fp32 summation
explains, 2 * sqrt(terms) * 2^-24 * sum of the products' sizes (Higham and Mary 2019, lambda 2);
told is the largest error as a share of it. Steps: one step of each R50 model against fp32, in TF32
and with TF32 in convolutions alone, as torch has it by default on a GPU, beside what the H200 of
gpu.md did.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gpu import FP32, TF32, gradients, models_and_batches
from measure import machine
from rounding import Product, products, three
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.precision import tf32
from halftrack.precision.tensor_cores import TensorCores

CPU = torch.device("cpu")
# Losses and gradients, TF32 on the GPU against fp32 on the CPU: the rows of gpu.md.
MEASURED = {
    "ReID R50, 16 crops": ("2.7e-04", "1.9e-01"),
    "SiamRPN++ R50, 4 pairs": ("4.6e-05", "2.0e-02"),
    "SELSA R50, 3x320x512": ("6.7e-03", "4.0e-02"),
    "Faster R-CNN R50-FPN, 2x320x512": ("4.2e-04", "7.0e-03"),
}


def nearest(x: Tensor) -> Tensor:
    """The nearest number of 11 significant bits, ties away from zero, in fp64."""
    mantissa, exponent = torch.frexp(x.double())
    whole = (mantissa * 2**11).abs().add(0.5).floor().copysign(mantissa)
    return whole * 2.0 ** (exponent - 11).double()


class Operands(TorchDispatchMode):
    """Keeps what products are computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in tf32.KERNELS:
            self.seen += [value for value in args if isinstance(value, Tensor)]
        return func(*args, **(kwargs or {}))


def errors(product: Product, *, seed: int = 0) -> tuple[int, bool, dict[str, float]]:
    """Operands, whether all are the rounded ones, and errors of y, dx and dw over their bounds."""
    generator = torch.Generator().manual_seed(seed)
    terms = math.prod(product.w_shape[1:])
    x = torch.randn(product.x_shape, generator=generator).relu_()
    w = torch.randn(product.w_shape, generator=generator) * (2.0 / terms) ** 0.5
    with Operands() as operands, TF32.arithmetic(CPU):
        ours = three(product.run, x, w, lambda shape: torch.randn(shape, generator=generator))
    upstream = ours.pop("upstream")
    rounded = [nearest(each.detach()) for each in (x, w, upstream)]
    known = [turned for each in rounded for turned in (each, each.transpose(-2, -1))]
    equal = all(any(same(seen, each) for each in known) for seen in operands.seen)
    exact = three(product.run, *rounded[:2], lambda _: rounded[2])
    sizes = three(product.run, *[each.abs() for each in rounded[:2]], lambda _: rounded[2].abs())
    rows = upstream.numel() // product.w_shape[0]
    counts = {"y": terms, "dx": terms * product.w_shape[0] // product.w_shape[1], "dw": rows}
    shares = {}
    for name, count in counts.items():
        limit = 2 * count**0.5 * 2.0**-24 * sizes[name]
        apart = (ours[name].double() - exact[name]).abs()
        shares[name] = float((apart / limit.clamp(min=1e-300)).max())
    return len(operands.seen), equal, shares


def same(seen: Tensor, known: Tensor) -> bool:
    """Equal bit by bit."""
    return seen.shape == known.shape and torch.equal(seen, known.float())


def tell_products(height: int, width: int) -> None:
    """A row for each shape."""
    print("| product | input | operands | bit-equal | forward | input gradient | weight gradient |")
    print("|---" * 7 + "|")
    most = {"y": 0.0, "dx": 0.0, "dw": 0.0}
    for product in products(height, width):
        count, equal, shares = errors(product)
        most = {name: max(value, shares[name]) for name, value in most.items()}
        size = "x".join(map(str, product.x_shape))
        cells = " | ".join(f"{shares[name]:.3f}" for name in most)
        print(f"| {product.name} | {size} | {count} | {equal} | {cells} |", flush=True)
    print("\nmost: " + ", ".join(f"{name} {value:.3f}" for name, value in most.items()))


@contextmanager
def convolutions_alone() -> Iterator[None]:
    """TF32 without matrix products."""
    everything = tf32._PRODUCTS
    kernels = {op: kernel for op, kernel in tf32.KERNELS.items() if "conv" in op.name()}
    tf32._PRODUCTS = TensorCores(kernels, (torch.float32,))
    try:
        yield
    finally:
        tf32._PRODUCTS = everything


def tell_steps() -> None:
    """A row for each model."""
    print(
        "| model | losses: tf32 | convolutions alone | the H200's, convolutions alone "
        "| gradients: tf32 | convolutions alone | the H200's |"
    )
    print("|---" * 7 + "|")
    for name, (build, batch) in models_and_batches().items():
        exact = gradients(build, batch, FP32, CPU)
        rehearsed = gradients(build, batch, TF32, CPU)
        with convolutions_alone():
            default = gradients(build, batch, TF32, CPU)
        there = MEASURED[name]
        print(
            f"| {name} | {rehearsed.loss_distance(exact):.1e} | {default.loss_distance(exact):.1e} "
            f"| {there[0]} | {rehearsed.distance(exact):.1e} | {default.distance(exact):.1e} "
            f"| {there[1]} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["products", "steps"])
    parser.add_argument("--size", type=int, nargs=2, default=[320, 512])
    asked = parser.parse_args()
    for part in asked.parts:
        print(f"\n{part}\n")
        if part == "products":
            tell_products(*asked.size)
        else:
            tell_steps()
    print(machine())


if __name__ == "__main__":
    main()
