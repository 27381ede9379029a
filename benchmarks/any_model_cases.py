"""Models that nobody here wrote, each with a batch and a loss as its users write it.

Names, sizes and habits as people train them; weights are random. What is not installed is left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from any_model_layers import Padded, Scaled, Tagger, Words, Wrapped, attended, masked, within
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Case", "Step", "cases"]

Step = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Case:
    """A model, a batch for it, and a loss as its users write it."""

    build: Callable[[], nn.Module]
    batch: Callable[[], Any]
    step: Step
    timed: Callable[[], Any] | None = None
    """A batch of the size at which it is rehearsed; None for a layer whose step takes some
    milliseconds, which the median leaves out."""
    compared: Step | None = None
    """The step whose dtypes are compared, where fake CUDA tensors do not take the other."""
    twin: Callable[[], nn.Module] | None = None
    """The same model without scripted parts, which fake tensors do not run."""


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


def detect_as_on_a_gpu(model: nn.Module, batch: Any) -> Any:
    # Of more than 1000 boxes a CPU suppresses each class by itself, a GPU of more than 5000.
    from torchvision.ops import boxes

    with mock.patch.object(boxes, "_batched_nms_vanilla", boxes._batched_nms_coordinate_trick):
        return detect(model, batch)


def with_loss(model: nn.Module, batch: Any) -> Any:
    return model(**batch)


def with_loss_as_on_a_gpu(model: nn.Module, batch: Any) -> Any:
    # Of fake tensors transformers reads no values; of a GPU's it reads whether a mask hides any.
    with mock.patch("transformers.utils.import_utils.is_fake_tensor", return_value=False):
        return with_loss(model, batch)


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

    for name in (
        *("resnet18", "mobilenet_v3_small", "swin_t", "swin_v2_t", "vit_b_16", "efficientnet_b0"),
        *("convnext_tiny", "densenet121", "shufflenet_v2_x1_0", "regnet_y_400mf", "resnet50"),
    ):
        build = getattr(tv, name)
        small = images(2, 224 if name.startswith("vit") else 96)
        made = lambda build=build: build(num_classes=5)  # noqa: E731
        yield name, Case(made, small, classify, images(2, 224))
    last = lambda: tv.resnet18(num_classes=5).to(memory_format=torch.channels_last)  # noqa: E731
    yield "resnet18, channels_last", Case(last, images(2, 96), classify, images(2, 224))
    clip = lambda: (torch.randn(2, 3, 4, 56, 56), torch.arange(2))  # noqa: E731
    long = lambda: (torch.randn(2, 3, 8, 112, 112), torch.arange(2))  # noqa: E731
    yield "r3d_18", Case(lambda: tv.video.r3d_18(num_classes=5), clip, classify, long)
    for name in ("lraspp_mobilenet_v3_large", "deeplabv3_resnet50"):
        build = getattr(tv.segmentation, name)
        bare = {"weights": None, "weights_backbone": None, "num_classes": 5}
        made = lambda build=build, bare=bare: build(**bare)  # noqa: E731
        yield name, Case(made, images(2, 96), segment, images(2, 224))


def detection_cases() -> Iterator[tuple[str, Case]]:
    from torchvision.models import detection

    bare = {"weights": None, "weights_backbone": None, "num_classes": 3}
    for name in (
        *("ssdlite320_mobilenet_v3_large", "fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn"),
        *("fcos_resnet50_fpn", "maskrcnn_resnet50_fpn", "ssd300_vgg16"),
        "fasterrcnn_resnet50_fpn_v2",
    ):
        small = {} if name.startswith("ssd") else {"min_size": 128, "max_size": 128}
        build = getattr(detection, name)
        made = lambda build=build, small=small: build(**bare, **small)  # noqa: E731
        batch = boxed_images(128)
        yield name, Case(made, batch, detect, batch, compared=detect_as_on_a_gpu)


def penalised(model: nn.Module, batch: Tensor) -> Tensor:
    x = batch.clone().requires_grad_()
    made = model(x).float().square().mean()
    (slope,) = torch.autograd.grad(made, x, create_graph=True)
    return made + slope.square().sum()


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
    words = lambda: torch.randint(0, 50, (4, 12))  # noqa: E731
    yield "Embedding(sparse=True)", Case(Words, words, square)
    layer = lambda: nn.Linear(64, 64)  # noqa: E731
    attention = lambda: nn.MultiheadAttention(64, 4, batch_first=True)  # noqa: E731
    bare = {"need_weights": False}
    for name, middle, inner in (
        ("MultiheadAttention", attended, attention),
        ("MultiheadAttention(need_weights=False)", lambda i, x: attended(i, x, **bare), attention),
        ("attention with a mask", masked, layer),
        ("checkpoint", lambda i, x: checkpoint(i, x, use_reentrant=False), layer),
        ("checkpoint, reentrant", lambda i, x: checkpoint(i, x, use_reentrant=True), layer),
        ("custom_fwd", lambda i, x: Scaled.apply(i(x)), layer),
        ('autocast("cuda", enabled=False)', within("cuda"), layer),
        ('autocast("cpu", enabled=False)', within("cpu"), layer),
        ("torch.compile", lambda i, x: i(x), lambda: torch.compile(layer())),
    ):
        yield name, Case(lambda m=middle, i=inner: Wrapped(m, i()), tokens, square)
    plain = lambda: Wrapped(lambda i, x: F.silu(i(x)), layer())  # noqa: E731
    yield "gradient penalty", Case(plain, tokens, penalised, compared=square)
    # What comes after a scripted part shows its dtype.
    shown = lambda inner: Wrapped(lambda i, x: i(x), nn.Sequential(inner, nn.Identity()))  # noqa: E731
    scripted = lambda: shown(torch.jit.script(layer()))  # noqa: E731
    yield "jit.script", Case(scripted, tokens, square, twin=lambda: shown(layer()))


def timm_cases() -> Iterator[tuple[str, Case]]:
    import timm

    for name, side in (
        *(("vit_small_patch16_224", 224), ("efficientnet_b0", 96), ("convnext_tiny", 96)),
        *(("swin_tiny_patch4_window7_224", 224), ("mixer_s16_224", 224)),
        *(("resnetv2_50", 96), ("beit_base_patch16_224", 224)),
    ):
        made = lambda name=name: timm.create_model(name, num_classes=5)  # noqa: E731
        yield f"timm {name}", Case(made, images(2, side), classify, images(2, 224))


def transformers_cases() -> Iterator[tuple[str, Case]]:
    import transformers as hf

    small = {"vocab_size": 1000, "hidden_size": 256, "num_attention_heads": 4}
    small |= {"num_hidden_layers": 4, "intermediate_size": 1024}

    def words(length: int = 16) -> dict[str, Tensor]:
        ids = torch.randint(3, 1000, (4, length))
        mask = torch.ones_like(ids)
        mask[:2, length - 4 :] = 0
        return {"input_ids": ids, "attention_mask": mask, "labels": ids}

    def one_label(length: int = 16) -> dict[str, Tensor]:
        return words(length) | {"labels": torch.arange(4) % 2}

    gpt = hf.GPT2Config(vocab_size=1000, n_embd=256, n_head=4, n_layer=4)
    start = {"decoder_start_token_id": 0, "pad_token_id": 0}
    t5 = hf.T5Config(
        vocab_size=1000, **start, d_model=256, d_kv=64, d_ff=1024, num_layers=3, num_heads=4
    )
    bert, llama = hf.BertConfig(**small), hf.LlamaConfig(**small)
    eager = hf.LlamaConfig(**small, attn_implementation="eager")
    for name, build, batch in (
        ("GPT-2", lambda: hf.GPT2LMHeadModel(gpt), words),
        ("Llama", lambda: hf.LlamaForCausalLM(llama), words),
        ("Llama, eager attention", lambda: hf.LlamaForCausalLM(eager), words),
        ("BERT", lambda: hf.BertForSequenceClassification(bert), one_label),
        ("T5", lambda: hf.T5ForConditionalGeneration(t5), words),
    ):
        long = lambda batch=batch: batch(128)  # noqa: E731
        case = Case(build, batch, with_loss, long, compared=with_loss_as_on_a_gpu)
        yield f"transformers {name}", case
    segformer = hf.SegformerConfig(num_labels=5, depths=[1, 1, 1, 1])

    def scenes(side: int = 64) -> dict[str, Tensor]:
        labels = torch.zeros(2, side, side, dtype=torch.long)
        return {"pixel_values": torch.randn(2, 3, side, side), "labels": labels}

    build = lambda: hf.SegformerForSemanticSegmentation(segformer)  # noqa: E731
    yield "transformers SegFormer", Case(build, scenes, with_loss, lambda: scenes(224))


def smp_cases() -> Iterator[tuple[str, Case]]:
    import segmentation_models_pytorch as smp

    made = lambda: smp.Unet("resnet18", encoder_weights=None, classes=5)  # noqa: E731
    yield "smp Unet", Case(made, images(2, 96), segment, images(2, 224))


def cases() -> Iterator[tuple[str, Case]]:
    """All of them by name, the quickest packages first."""
    for package, of_it in (
        ("torch", torch_cases),
        ("transformers", transformers_cases),
        ("timm", timm_cases),
        ("segmentation_models_pytorch", smp_cases),
        ("torchvision", torchvision_cases),
        ("torchvision", detection_cases),
    ):
        if importlib.util.find_spec(package) is not None:
            yield from of_it()
