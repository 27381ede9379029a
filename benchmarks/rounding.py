"""How often a rehearsed product is the correctly rounded one, on every shape of SELSA R50.

    python benchmarks/rounding.py [--size 320 512] [--device cuda]

Each convolution and linear layer gets the map it meets in a training step of that image size,
normal weights and activations; forward, input gradient and weight gradient are held against fp64,
rounded once. Whatever is not equal must lie within half a unit of fp16 and what summing in fp32
explains (Higham and Mary 2019: sqrt(terms) * 2^-24 * sum of the products' sizes). The stem and the
first stage are frozen: no gradient passes them in training. On an accelerator the products are its
own, not rehearsed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from measure import machine
from torch import Tensor, nn

from halftrack.models import SelsaConfig
from halftrack.precision import Precision

FP16 = Precision("fp16", 512.0)


@dataclass(frozen=True)
class Product:
    """One shape: an operation on an input and a weight."""

    name: str
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    options: tuple[int, int, int]
    """Stride, padding, dilation."""

    def run(self, x: Tensor, w: Tensor) -> Tensor:
        """The result."""
        if len(self.w_shape) == 2:
            return F.linear(x, w)
        stride, padding, dilation = self.options
        return F.conv2d(x, w, None, stride, padding, dilation)


def products(height: int, width: int) -> list[Product]:
    """The distinct shapes of SELSA R50 at an image size."""
    model = SelsaConfig().build().detector
    found: dict[Product, None] = {}

    def remember(module: nn.Module, x: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            options = (module.stride[0], int(module.padding[0]), module.dilation[0])
            name = f"conv {module.in_channels}->{module.out_channels} {module.kernel_size[0]}x"
            name += f"{module.kernel_size[0]} stride {options[0]} dilation {options[2]}"
            found[Product(name, tuple(x.shape), tuple(module.weight.shape), options)] = None

    # The backbone folds BN into its convolutions and never calls them: maps are followed here.
    x = torch.zeros(1, 3, height, width, device="meta")
    for name, module in model.backbone.named_modules():
        if not isinstance(module, nn.Conv2d) or "downsample" in name:
            continue
        if name == "conv1":
            remember(module, x)
            x = torch.empty(1, 64, height // 4, width // 4, device="meta")
            continue
        if name.endswith("conv1"):
            block = model.backbone.get_submodule(name.rpartition(".")[0])
            if block.downsample is not None:
                remember(block.downsample[0], x)
        remember(module, x)
        stride = module.stride[0]
        x = torch.empty(
            1, module.out_channels, x.shape[2] // stride, x.shape[3] // stride, device="meta"
        )
    remember(model.neck.convs[0].conv, x)
    x = torch.empty(1, 512, *x.shape[2:], device="meta")
    for conv in (model.rpn_head.rpn_conv, model.rpn_head.rpn_cls, model.rpn_head.rpn_reg):
        remember(conv, x)
    for module in model.roi_head.modules():
        if isinstance(module, nn.Linear):
            name = f"linear {module.in_features}->{module.out_features}"
            shape = tuple(module.weight.shape)
            found[Product(name, (256, module.in_features), shape, (1, 0, 1))] = None
    return list(found)


Shares = dict[str, float]


def equal_shares(product: Product, device: torch.device, *, seed: int = 0) -> tuple[Shares, bool]:
    """Share of correctly rounded elements of y, dx and dw, and whether the rest is explained."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    terms = math.prod(product.w_shape[1:])
    x = normal(*product.x_shape).relu_().half()
    w = (normal(*product.w_shape) * (2.0 / terms) ** 0.5).half()
    with FP16.arithmetic(device):
        ours = three(product.run, x, w, lambda shape: normal(*shape).half())
        upstream = ours.pop("upstream")
    exact = three(product.run, x.double(), w.double(), lambda _: upstream.double())
    sizes = three(
        product.run, x.double().abs(), w.double().abs(), lambda _: upstream.double().abs()
    )
    rows = upstream.numel() // product.w_shape[0]
    counts = {"y": terms, "dx": terms * product.w_shape[0] // product.w_shape[1], "dw": rows}
    shares, explained = {}, True
    for name, count in counts.items():
        shares[name] = float((ours[name] == exact[name].half()).double().mean())
        half_unit = 2.0 ** (exact[name].abs().clamp(min=2.0**-14).log2().floor() - 11)
        limit = half_unit + count**0.5 * 2.0**-24 * sizes[name]
        fits = (ours[name].double() - exact[name]).abs() <= limit
        overflowed = torch.isinf(ours[name]) & (exact[name].abs() + limit >= 65520)
        explained &= bool((fits | overflowed).all())
    return shares, explained


def three(
    run: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor, upstream: Callable[..., Tensor]
) -> dict[str, Tensor]:
    x, w = x.requires_grad_(), w.requires_grad_()
    y = run(x, w)
    given = upstream(y.shape)
    dx, dw = torch.autograd.grad(y, (x, w), given)
    return {"y": y.detach(), "dx": dx, "dw": dw, "upstream": given}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=[320, 512])
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    asked = parser.parse_args()
    height, width = asked.size
    print("| product | input | forward | input gradient | weight gradient | rest explained |")
    print("|---|---|---|---|---|---|")
    least = {"y": 1.0, "dx": 1.0, "dw": 1.0}
    for product in products(height, width):
        shares, explained = equal_shares(product, asked.device)
        least = {name: min(value, shares[name]) for name, value in least.items()}
        cells = " | ".join(f"{100 * shares[name]:.2f}%" for name in least)
        size = "x".join(map(str, product.x_shape))
        print(f"| {product.name} | {size} | {cells} | {explained} |", flush=True)
    print("\nleast: " + ", ".join(f"{name} {100 * value:.2f}%" for name, value in least.items()))
    print(machine())


if __name__ == "__main__":
    main()
