"""Models that nobody here wrote, rehearsed by name with random weights: what works, what it costs.

    python benchmarks/any_model.py [--only "NAME;..."] [--dtypes]

torchvision and torch.nn are tried always; timm, transformers and segmentation_models_pytorch where
they are installed. Columns: whether it runs; whether each module's dtypes are those of CUDA's
autocast on fake CUDA tensors (the only column with ``--dtypes``); whether a planted overflow is
named right, forward and backward; whether the fp32 islands found are exactly the planted module;
whether the page is written; the processor time of a rehearsed step against one in fp32.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from any_model_cases import Case, Step, cases
from any_model_dtypes import dtypes_of_both
from torch import Tensor, nn

import halftrack
from halftrack.precision import Precision
from halftrack.precision.losses import loss_terms
from halftrack.rehearsing import Report

FP16 = Precision("fp16", 256.0)
GUIDE = Path(__file__).parents[1] / "docs/any_model.md"
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Steep(torch.autograd.Function):
    """The identity, with a gradient that overflows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same values."""
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """A gradient that half does not hold."""
        return gradient * 2.0**60


def chosen(model: nn.Module, step: Step, batch: Any) -> tuple[str, float]:
    """A layer in the middle of those that gave a half result, and the largest value it made."""
    largest: dict[str, float] = {}

    def saw(path: str, made: Tensor) -> None:
        if made.dtype == FP16.dtype:
            largest[path] = max(largest.get(path, 0.0), float(made.detach().abs().max()))

    hooks = [
        module.register_forward_hook(lambda _, __, made, path=path: saw(path, made))
        for path, module in model.named_modules()
        if type(module) in WEIGHTED and not hasattr(module, "parametrizations")
    ]
    with FP16.autocast("cpu"):
        step(model, batch)
    for hook in hooks:
        hook.remove()
    path = list(largest)[len(largest) // 2]
    return path, largest[path]


def rehearsed(model: nn.Module, case: Case, batch: Any, **how: Any) -> Report:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    how = {"steps": 1, "memory": False, "precision": FP16} | how
    return halftrack.rehearse(case.step, [batch], model=model, optimizer=optimizer, **how)


def dtypes(model: nn.Module, case: Case, batch: Any) -> str:
    """Whether all modules give what they give on a GPU; if not, those that do not."""
    try:
        rehearsed, gpu = dtypes_of_both(model, case, batch, FP16)
    except Exception as error:  # a row that says so
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]
    other = [path for path in {**gpu, **rehearsed} if gpu.get(path) != rehearsed.get(path)]
    return f"{len(gpu)}" if gpu and not other else f"{len(other)} of {len(gpu)} differ: {other[:2]}"


def slower(model: nn.Module, case: Case, batch: Any, steps: int = 3) -> float:
    """The time of a rehearsed step over that of one in fp32."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    plain, ends = [], []
    for _ in range(steps):
        start = time.process_time()
        losses = loss_terms(case.step(model, batch))
        sum(losses.values()).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        plain.append(time.process_time() - start)
    note = lambda *_: ends.append(time.process_time())  # noqa: E731
    rehearsed(model, case, batch, steps=steps + 1, every=99, progress=note)
    taken = [b - a for a, b in itertools.pairwise(ends)]
    return statistics.median(taken) / statistics.median(plain[1:])


def tried(case: Case, *, only_dtypes: bool) -> dict[str, str]:
    """A row of the table."""
    torch.manual_seed(0)
    model, batch = case.build().train(), case.batch()
    row = {"dtypes": dtypes(model, case, batch)}
    if only_dtypes:
        return row
    time_of = case.timed or case.batch
    row |= {"time": f"{slower(model, case, time_of()):.2f}", "runs": "yes"}
    path, largest = chosen(model, case.step, batch)
    layer = model.get_submodule(path)

    # Too large for half, and divided again in fp32: only the layer itself overflows.
    factor = 2.0 ** round(math.log2(2.0**18 / largest))
    mend = layer.register_forward_hook(lambda _, __, made: (made.float() / factor).to(made.dtype))
    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor)
    report = rehearsed(model, case, batch, every=1)
    said = report.culprits[0].where if report.culprits else "no culprit"
    row["forward"] = "yes" if said == path else f"{path}: {said}"
    found = report.islands().keep_fp32
    row["islands"] = "yes" if found == (path,) else f"{path}: {found}"
    with tempfile.TemporaryDirectory() as folder:
        report.save(Path(folder) / "page.html")
        row["page"] = "yes" if (Path(folder) / "page.html").stat().st_size > 10_000 else "no"
    mend.remove()
    with torch.no_grad():
        layer.weight.div_(factor)
        if layer.bias is not None:
            layer.bias.div_(factor)

    own = layer.forward
    layer.forward = lambda *args: Steep.apply(own(*args))  # type: ignore[method-assign]
    report = rehearsed(model, case, batch)
    culprit = report.culprits[0] if report.culprits else None
    named = culprit is not None and (culprit.where, culprit.direction) == (path, "backward")
    row["backward"] = "yes" if named else f"{path}: {culprit}"
    return row


def user_lines() -> int:
    """Lines of the guide's first example that are not blank."""
    example = GUIDE.read_text(encoding="utf-8").split("```")[1]
    return len([line for line in example.splitlines()[1:] if line.strip()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names, with semicolons between them")
    parser.add_argument("--dtypes", action="store_true", help="this column alone")
    options = parser.parse_args()
    names = options.only
    columns = ("runs", "dtypes", "forward", "backward", "islands", "page", "time")
    print(f"| model | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    times = []
    for name, case in cases():
        if names and name not in names.split(";"):
            continue
        try:
            row = tried(case, only_dtypes=options.dtypes)
        except Exception as error:  # a row that says so: the next model may do
            row = {"runs": f"{type(error).__name__}: {error}".splitlines()[0][:120]}
        if "time" in row and case.timed is not None:
            times.append(float(row["time"]))
        print(f"| {name} | {' | '.join(row.get(column, '-') for column in columns)} |", flush=True)
    if times:
        print(f"\nmedian time against fp32 {statistics.median(times):.2f}, {user_lines()} lines")


if __name__ == "__main__":
    main()
