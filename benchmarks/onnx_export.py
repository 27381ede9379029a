"""Do exported ONNX graphs answer as the models do, how large are they, and how fast?

    OMP_NUM_THREADS=1 python benchmarks/onnx_export.py [MODEL ...] [--rounds 3] [--size 608 1088]

Needs `pip install halftrack[onnx]`. Each of the four R50 models, with the weights of the golden
values, is exported in fp32 and with fp16 weights. onnxruntime's answers are compared with those of
the model's own methods on frames of a size that was not traced, and both are timed in turn, on as
many threads as PyTorch has.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

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
from torch import Tensor, nn

from halftrack.frames import Frame
from halftrack.interop.onnx.compare import difference_of, session
from halftrack.interop.onnx.write import round_weights, write_onnx
from halftrack.layers.folding import folded_copy
from halftrack.recipes import load_recipe

Answer = Callable[[], dict[str, Tensor]]
Size = tuple[int, int]


class Files:
    """A model's files, which answer by tensors with names."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.sessions = [session(file) for file in files]

    def answer(self, place: int, **inputs: Tensor) -> dict[str, Tensor]:
        """The answer, by name, of one of the files."""
        running = self.sessions[place]
        given = {name: value.float().numpy() for name, value in inputs.items()}
        answer = map(torch.from_numpy, running.run(None, given))
        return dict(zip((each.name for each in running.get_outputs()), answer, strict=True))


def detections(model: nn.Module, frame: Frame) -> dict[str, Tensor]:
    """A detector's own answer, by the names of a graph's outputs."""
    found = model.detect(frame)
    return {"boxes": found.boxes_xyxy, "scores": found.scores, "labels": found.labels}


def of_detector(model: nn.Module, files: Files, size: Size) -> tuple[Answer, Answer]:
    (frame,) = golden_video(1, *size)
    return lambda: detections(model, frame), lambda: files.answer(0, image=frame.image)


def of_selsa(model: nn.Module, files: Files, size: Size) -> tuple[Answer, Answer]:
    *references, frame = golden_video(3, *size)
    model.start(references)
    lent = [files.answer(0, image=each.image) for each in references]
    memory = {name: torch.cat([each[name] for each in lent], dim=1) for name in lent[0]}
    return (
        lambda: detections(model, frame),
        lambda: files.answer(1, image=frame.image, **memory),
    )


def of_reid(model: nn.Module, files: Files, size: Size) -> tuple[Answer, Answer]:
    crops = torch.randn(8, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    return lambda: {"embeddings": model.embed_images(crops)}, lambda: files.answer(0, crops=crops)


def of_siamrpn(model: nn.Module, files: Files, size: Size) -> tuple[Answer, Answer]:
    (frame,) = golden_video(1, 319, 319)
    template, search = frame.image[:, 96:223, 96:223], frame.image[:, :255, :271]
    embedding, kernels = model.embed(template), files.answer(0, template=template)

    def own() -> dict[str, Tensor]:
        return dict(zip(("scores", "deltas"), model.compare(embedding, search), strict=True))

    return own, lambda: files.answer(1, search=search, **kernels)


MODELS = {
    "detector": (golden_detector, "faster-rcnn_r50_fpn_4e_mot17-half", of_detector),
    "selsa": (golden_selsa, "selsa_faster_rcnn_r50_dc5_1x_imagenetvid", of_selsa),
    "reid": (golden_reid, "resnet50_b32x8_MOT17", of_reid),
    "siamrpn": (golden_siamrpn, "siamese_rpn_r50_20e_lasot", of_siamrpn),
}


@torch.no_grad()
def tell(name: str, *, half: bool, rounds: int, size: Size, folder: Path) -> None:
    """A row of the table."""
    build, recipe, calls = MODELS[name]
    model = build().eval()
    written = write_onnx(load_recipe(recipe), model, folder / f"{name}.onnx", half=half)
    if half:
        model = folded_copy(model)
        round_weights(model)
    files = Files([each.file for each in written])
    own, exported = calls(model, files, size)
    apart = difference_of(own(), exported())
    rows = paired([own, exported], rounds=rounds)
    seconds = [statistics.median(row[place] for row in rows) for place in (0, 1)]
    sizes = " + ".join(f"{file.stat().st_size / 1e6:.0f}" for file in files.files)
    print(
        f"| {name}{', fp16 weights' * half} | {apart} | {sizes} MB | {seconds[0] * 1e3:.0f} ms | "
        f"{seconds[1] * 1e3:.0f} ms | {spread([row[1] / row[0] for row in rows])} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(608, 1088))
    chosen = parser.parse_args()
    print("| model | apart | files | PyTorch | onnxruntime | onnxruntime / PyTorch |")
    print("|---" * 6 + "|")
    for name in chosen.models:
        for half in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                tell(
                    name,
                    half=half,
                    rounds=chosen.rounds,
                    size=tuple(chosen.size),
                    folder=Path(folder),
                )
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
