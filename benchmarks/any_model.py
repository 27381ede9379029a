"""Models that nobody here wrote, rehearsed by name with random weights: what works, what it costs.

    python benchmarks/any_model.py [--only NAME,...]

torchvision and torch.nn are tried always; timm, transformers and segmentation_models_pytorch where
they are installed. Columns: whether it runs; whether a planted overflow is named right, forward and
backward; whether the fp32 islands found are exactly the planted module; whether the page is
written; the processor time of a rehearsed step against one in fp32.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import halftrack
from halftrack.precision import Precision
from halftrack.precision.losses import loss_terms
from halftrack.rehearsing import Report

FP16 = Precision("fp16", 256.0)
GUIDE = Path(__file__).parents[1] / "docs/any_model.md"
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Step = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Case:
    """A model, a batch for it, and a loss as its users write it."""

    build: Callable[[], nn.Module]
    batch: Callable[[], Any]
    step: Step
    package: str = "torch"


def images(count: int, side: int) -> Callable[[], Any]:
    return lambda: (torch.randn(count, 3, side, side), torch.arange(count) % 5)


def classify(model: nn.Module, batch: Any) -> Tensor:
    made = model(batch[0])
    return F.cross_entropy(made, batch[1])


def segment(model: nn.Module, batch: Any) -> Tensor:
    made = model(batch[0])
    made = made["out"] if isinstance(made, dict) else made
    return F.cross_entropy(made, torch.zeros(made[:, 0].shape, dtype=torch.long))


def detect(model: nn.Module, batch: Any) -> Any:
    return model(*batch)


def with_loss(model: nn.Module, batch: Any) -> Any:
    return model(**batch)


def square(model: nn.Module, batch: Any) -> Tensor:
    made = model(**batch) if isinstance(batch, dict) else model(batch)
    return (made[0] if isinstance(made, tuple) else made).float().square().mean()


def boxed_images(side: int) -> Callable[[], Any]:
    def batch() -> Any:
        boxes = torch.tensor([[10.0, 10.0, side * 0.6, side * 0.7]])
        target = {"boxes": boxes, "labels": torch.tensor([1])}
        masks = torch.zeros(1, side, side, dtype=torch.uint8)
        masks[:, 10:40, 10:40] = 1
        return [torch.rand(3, side, side) for _ in range(2)], [target | {"masks": masks}] * 2

    return batch


def torchvision_cases() -> Iterator[tuple[str, Case]]:
    import torchvision.models as tv

    for name, side in (
        *(("resnet18", 96), ("resnet50", 96), ("mobilenet_v3_small", 96), ("densenet121", 64)),
        *(("efficientnet_b0", 96), ("convnext_tiny", 96), ("regnet_y_400mf", 96)),
        *(("vit_b_16", 224), ("swin_t", 96), ("swin_v2_t", 96), ("shufflenet_v2_x1_0", 96)),
    ):
        build = getattr(tv, name)
        yield name, Case(lambda build=build: build(num_classes=5), images(4, side), classify)
    clip = lambda: (torch.randn(2, 3, 4, 56, 56), torch.arange(2))  # noqa: E731
    yield "r3d_18", Case(lambda: tv.video.r3d_18(num_classes=5), clip, classify)
    for name in ("deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large"):
        build = getattr(tv.segmentation, name)
        bare = {"weights": None, "weights_backbone": None, "num_classes": 5}
        yield name, Case(lambda build=build, bare=bare: build(**bare), images(2, 96), segment)
    bare = {"weights": None, "weights_backbone": None, "num_classes": 3}
    for name in (
        *("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "maskrcnn_resnet50_fpn"),
        *("retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssd300_vgg16"),
        "ssdlite320_mobilenet_v3_large",
    ):
        small = {} if name.startswith("ssd") else {"min_size": 128, "max_size": 128}
        build = getattr(tv.detection, name)
        made = lambda build=build, small=small: build(**bare, **small)  # noqa: E731
        yield name, Case(made, boxed_images(128), detect)


class Tagger(nn.Module):
    """A recurrent network with a head."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.recurrent, self.head = kind(32, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each place."""
        return self.head(self.recurrent(self.embed(x))[0])


class Padded(nn.Module):
    """An encoder with a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of each place; the last two are padding."""
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[:, -2:] = True
        return self.head(self.encoder(x, src_key_padding_mask=padding))


def torch_cases() -> Iterator[tuple[str, Case]]:
    sequence = lambda: torch.randn(4, 12, 16)  # noqa: E731
    tokens = lambda: torch.randn(4, 12, 32)  # noqa: E731
    yield "LSTM", Case(lambda: Tagger(nn.LSTM), sequence, square)
    yield "GRU", Case(lambda: Tagger(nn.GRU), sequence, square)
    yield "TransformerEncoder (padded)", Case(Padded, tokens, square)
    body = lambda wrap: nn.Sequential(wrap(nn.Linear(32, 64)), nn.ReLU(), nn.Linear(64, 5))  # noqa: E731
    for name in ("weight_norm", "spectral_norm"):
        wrap = getattr(nn.utils.parametrizations, name)
        yield name, Case(lambda wrap=wrap: body(wrap), tokens, square)


def timm_cases() -> Iterator[tuple[str, Case]]:
    import timm

    for name, side in (
        *(("efficientnet_b0", 96), ("convnext_tiny", 96), ("vit_small_patch16_224", 224)),
        *(("swin_tiny_patch4_window7_224", 224), ("beit_base_patch16_224", 224)),
        *(("mixer_s16_224", 224), ("resnetv2_50", 96)),
    ):
        made = lambda name=name: timm.create_model(name, num_classes=5)  # noqa: E731
        yield f"timm {name}", Case(made, images(2, side), classify, "timm")


def transformers_cases() -> Iterator[tuple[str, Case]]:
    import transformers as hf

    small = {"vocab_size": 100, "hidden_size": 32, "num_attention_heads": 4}
    small |= {"num_hidden_layers": 2, "intermediate_size": 64}

    def words() -> dict[str, Tensor]:
        ids = torch.randint(3, 100, (4, 16))
        mask = torch.ones_like(ids)
        mask[:2, 12:] = 0
        return {"input_ids": ids, "attention_mask": mask, "labels": ids}

    def one_label() -> dict[str, Tensor]:
        return words() | {"labels": torch.arange(4) % 2}

    gpt = hf.GPT2Config(vocab_size=100, n_embd=32, n_head=4, n_layer=2)
    t5 = hf.T5Config(vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    bert, llama = hf.BertConfig(**small), hf.LlamaConfig(**small)
    for name, build, batch in (
        ("GPT-2", lambda: hf.GPT2LMHeadModel(gpt), words),
        ("Llama", lambda: hf.LlamaForCausalLM(llama), words),
        ("BERT", lambda: hf.BertForSequenceClassification(bert), one_label),
        ("T5", lambda: hf.T5ForConditionalGeneration(t5), words),
    ):
        yield f"transformers {name}", Case(build, batch, with_loss, "transformers")


def smp_cases() -> Iterator[tuple[str, Case]]:
    import segmentation_models_pytorch as smp

    made = lambda: smp.Unet("resnet18", encoder_weights=None, classes=5)  # noqa: E731
    yield "smp Unet", Case(made, images(2, 96), segment, "segmentation_models_pytorch")


def cases() -> Iterator[tuple[str, Case]]:
    for package, of_it in (
        ("torchvision", torchvision_cases),
        ("torch", torch_cases),
        ("timm", timm_cases),
        ("transformers", transformers_cases),
        ("segmentation_models_pytorch", smp_cases),
    ):
        if importlib.util.find_spec(package) is not None:
            yield from of_it()


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
    """A layer in the middle of those that ran, and the largest value that it made."""
    largest: dict[str, float] = {}

    def saw(path: str, made: Tensor) -> None:
        largest[path] = max(largest.get(path, 0.0), float(made.abs().max()))

    hooks = [
        module.register_forward_hook(lambda _, __, made, path=path: saw(path, made))
        for path, module in model.named_modules()
        if type(module) in WEIGHTED and not hasattr(module, "parametrizations")
    ]
    with torch.no_grad():
        step(model, batch)
    for hook in hooks:
        hook.remove()
    path = list(largest)[len(largest) // 2]
    return path, largest[path]


def rehearsed(model: nn.Module, case: Case, batch: Any, **how: Any) -> Report:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    how = {"steps": 1, "memory": False, "precision": FP16} | how
    return halftrack.rehearse(case.step, [batch], model=model, optimizer=optimizer, **how)


def slower(model: nn.Module, case: Case, batch: Any, steps: int = 4) -> float:
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


def tried(case: Case) -> dict[str, str]:
    """A row of the table."""
    torch.manual_seed(0)
    model, batch = case.build().train(), case.batch()
    row = {"time": f"{slower(model, case, batch):.2f}", "runs": "yes"}
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
    parser.add_argument("--only", help="names, with commas between them")
    names = parser.parse_args().only
    columns = ("runs", "forward", "backward", "islands", "page", "time")
    print(f"| model | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    times = []
    for name, case in cases():
        if names and name not in names.split(","):
            continue
        try:
            row = tried(case)
        except Exception as error:  # a row that says so: the next model may do
            row = {"runs": f"{type(error).__name__}: {error}"[:120]}
        if "time" in row:
            times.append(float(row["time"]))
        print(f"| {name} | {' | '.join(row.get(column, '-') for column in columns)} |", flush=True)
    if times:
        print(f"\nmedian time against fp32 {statistics.median(times):.2f}, {user_lines()} lines")


if __name__ == "__main__":
    main()
