"""Two precisions, and two implementations, on the same batches: the first layer that differs.

python examples/parity_study.py
"""

# %% A recipe's backbone with random weights; its group norm can be another implementation.
from functools import partial

import torch
from torch import Tensor, nn

import halftrack
from halftrack.precision import Precision


class OnePassNorm(nn.GroupNorm):  # the variance as E[x²] - E[x]²: x is read only once
    def forward(self, images: Tensor) -> Tensor:
        x = images.unflatten(1, (self.num_groups, -1))
        mean, squares = (each.mean((2, 3, 4), keepdim=True) for each in (x, x * x))
        x = ((x - mean) * (squares - mean * mean + self.eps).rsqrt()).flatten(1, 2)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


def backbone(norm: type[nn.GroupNorm]) -> nn.Module:
    model = halftrack.load_recipe("faster-rcnn_tiny_sample").build_model(seed=0).backbone.eval()
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            module.__class__ = norm  # the same weights
    return model


# %% What each layer gives, in the order in which they compute, on batches of several brightnesses.
def outputs(norm: type[nn.GroupNorm], precision: str) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}

    def keep(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        found.setdefault(name, []).append(output.float())

    model, draw = backbone(norm), torch.Generator().manual_seed(0)
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(partial(keep, name))
    with Precision.named(precision).inference("cpu"):  # in a GPU's arithmetic
        for brightness in (1.0, 16.0, 255.0):
            model(brightness * torch.rand(4, 3, 64, 96, generator=draw))
    return {name: torch.stack(each) for name, each in found.items()}


# %% The largest difference of a layer as a share of its largest value; NaN is a difference too.
exact, half = outputs(nn.GroupNorm, "fp32"), outputs(nn.GroupNorm, "fp16")
for title, expected, tried, allowed in (
    ("fp16 beside fp32", exact, half, 0.005),
    ("bf16 beside fp32", exact, outputs(nn.GroupNorm, "bf16"), 0.04),
    ("one-pass norm, fp32", exact, outputs(OnePassNorm, "fp32"), 1e-5),
    ("one-pass norm, fp16", half, outputs(OnePassNorm, "fp16"), 0.005),
):
    apart = {k: float((tried[k] - v).abs().max() / v.abs().max()) for k, v in expected.items()}
    first = next((f"{k} first, by {v:.2g}" for k, v in apart.items() if not v <= allowed), "none")
    print(f"{title:20} largest {max(apart.values()):.1e}, above {allowed:g}: {first}")
