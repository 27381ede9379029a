"""Public training scripts, unchanged, on made-up data through ``halftrack run``: what is reported.

    python benchmarks/run.py FOLDER [--steps N] [--only NAME,...] [--work FOLDER]

FOLDER holds the checkouts, each under its repository's name: vision (torchvision's), examples
(pytorch's), pytorch-image-models, nanoGPT, pytorch-lightning. Scripts of packages (ultralytics,
trl with transformers) are tried where those are installed. A script whose checkout is not there is
left out. Columns: the steps asked for and taken, the precision that the script chose, what was
reported, the time of the whole run on this machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

LONGEST = 900  # seconds that a script may take


@dataclass(frozen=True)
class Case:
    """A script and its arguments, in which ``{}`` is the folder of made-up data."""

    script: str
    """Path below the folder of checkouts; a module; or the name of a program."""
    arguments: str
    package: str = ""
    """The package that it belongs to, if that is no checkout."""
    kind: str = "file"
    """``file``, ``module`` or ``program``."""
    inside: bool = False
    """True to run it in its own folder, whose other files it opens."""


CASES = {
    "torchvision classification, resnet18, --amp": Case(
        "vision/references/classification/train.py",
        "--data-path {}/images --model resnet18 --batch-size 4 --workers 1 --amp --output-dir {}",
    ),
    "torchvision classification, vit_b_16, --amp, EMA": Case(
        "vision/references/classification/train.py",
        "--data-path {}/images --model vit_b_16 --batch-size 2 --workers 1 --amp --model-ema "
        "--opt adamw --lr 0.001 --clip-grad-norm 1 --mixup-alpha 0.2 --output-dir {}",
    ),
    "torchvision detection, ssdlite320, --amp": Case(
        "vision/references/detection/train.py",
        "--data-path {}/coco --model ssdlite320_mobilenet_v3_large --batch-size 2 --workers 1 "
        "--amp --aspect-ratio-group-factor -1 --output-dir {}",
    ),
    "torchvision detection, fasterrcnn_mobilenet, --amp": Case(
        "vision/references/detection/train.py",
        "--data-path {}/coco --model fasterrcnn_mobilenet_v3_large_320_fpn --batch-size 2 "
        "--workers 1 --amp --lr 0.002 --output-dir {}",
    ),
    "torchvision segmentation, lraspp, --amp": Case(
        "vision/references/segmentation/train.py",
        "--data-path {}/coco --model lraspp_mobilenet_v3_large --batch-size 2 --workers 1 --amp "
        "--output-dir {}",
    ),
    "timm train.py, resnet18, --amp": Case(
        "pytorch-image-models/train.py",
        "--data-dir {}/images --model resnet18 --num-classes 6 --batch-size 4 --workers 1 --amp "
        "--model-ema --opt adamw --lr 1e-3 --output {}/out",
    ),
    "timm train.py, vit_tiny, bf16": Case(
        "pytorch-image-models/train.py",
        "--data-dir {}/images --model vit_tiny_patch16_224 --num-classes 6 --batch-size 4 "
        "--workers 1 --amp --amp-dtype bfloat16 --torchcompile --output {}/out",
    ),
    "nanoGPT, float16": Case(
        "nanoGPT/train.py",
        "--dataset={}/tokens --out_dir={}/out --dtype=float16 --n_layer=2 --n_head=4 --n_embd=64 "
        "--block_size=64 --batch_size=4 --gradient_accumulation_steps=2 --eval_iters=1",
        inside=True,
    ),
    "nanoGPT, as it is (bfloat16)": Case(
        "nanoGPT/train.py",
        "--dataset={}/tokens --out_dir={}/out --n_layer=2 --n_head=4 --n_embd=64 "
        "--block_size=64 --batch_size=4 --gradient_accumulation_steps=2 --eval_iters=1",
        inside=True,
    ),
    "pytorch/examples mnist": Case("examples/mnist/main.py", "--batch-size 16"),
    "pytorch/examples imagenet, DDP in one process": Case(
        "examples/imagenet/main.py",
        "--dummy -a resnet18 -b 2 -j 1 --multiprocessing-distributed --world-size 1 --rank 0 "
        "--dist-url tcp://127.0.0.1:23456",
    ),
    "pytorch/examples word_language_model": Case(
        "examples/word_language_model/main.py",
        "--data {}/words --accel --use-optimizer --batch_size 4 --emsize 32 --nhid 32 "
        "--save {}/model.pt",
        inside=True,
    ),
    "pytorch/examples dcgan": Case(
        "examples/dcgan/main.py", "--dataset fake --accel --batchSize 4 --workers 1 --outf {}"
    ),
    "Lightning imagenet, 16-mixed": Case(
        "pytorch-lightning/examples/pytorch/domain_templates/imagenet.py",
        "fit --model.data_path {}/images --model.arch resnet18 --model.batch_size 4 "
        "--model.workers 1 --trainer.precision 16-mixed --trainer.accelerator gpu",
    ),
    "Lightning GAN": Case(
        "pytorch-lightning/examples/pytorch/domain_templates/generative_adversarial_net.py", ""
    ),
    "ultralytics detect train": Case(
        "yolo",
        "detect train model=yolov8n.yaml data={}/yolo/data.yaml imgsz=64 batch=4 workers=0 "
        "epochs=9 nbs=4 val=False device=0 pretrained=False plots=False project={}/yolo_out",
        package="ultralytics",
        kind="program",
    ),
    "transformers' Trainer (trl reward), fp16": Case(
        "trl.scripts.reward",
        "--model_name_or_path {}/llama --dataset_name {}/pairs --output_dir {}/reward --fp16 true "
        "--bf16 false --per_device_train_batch_size 2 --max_length 32 --dtype float32 "
        "--report_to none",
        package="trl",
        kind="module",
    ),
    "trl sft, whose loss is a Triton kernel": Case(
        "trl.scripts.sft",
        "--model_name_or_path {}/llama --dataset_name {}/texts --output_dir {}/sft --fp16 true "
        "--bf16 false --per_device_train_batch_size 2 --max_length 32 --dtype float32 "
        "--report_to none",
        package="trl",
        kind="module",
    ),
}


def picture(path: Path, numbers: np.random.Generator, width: int = 96, height: int = 96) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)


def make_images(root: Path, numbers: np.random.Generator) -> None:
    """Folders of classes, as ImageFolder reads them."""
    for split in ("train", "val"):
        for name in "abcdef":
            for number in range(6):
                picture(root / "images" / split / name / f"{number}.jpg", numbers)


def make_coco(root: Path, numbers: np.random.Generator) -> None:
    """Pictures with three objects each."""
    for split in ("train2017", "val2017"):
        objects = []
        for number in range(8):
            picture(root / "coco" / split / f"{number:012d}.jpg", numbers, 160, 120)
            for _ in range(3):
                x, y, w, h = (float(n) for n in numbers.integers((0, 0, 45, 45), (60, 60, 60, 60)))
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": number,
                        "category_id": int(numbers.integers(1, 4)),
                        "bbox": [x, y, w, h],
                        "area": w * h,
                        "iscrowd": 0,
                        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    }
                )
        images = [
            {"id": n, "file_name": f"{n:012d}.jpg", "width": 160, "height": 120} for n in range(8)
        ]
        categories = [{"id": n, "name": str(n)} for n in range(1, 91)]
        made = {"images": images, "annotations": objects, "categories": categories}
        target = root / "coco" / "annotations" / f"instances_{split}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(made))


def make_yolo(root: Path, numbers: np.random.Generator) -> None:
    """Pictures with two objects each, in text files beside them."""
    for number in range(16):
        picture(root / "yolo" / "images" / f"{number}.jpg", numbers, 64, 64)
        label = root / "yolo" / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.4 0.4 0.3 0.3\n1 0.6 0.6 0.4 0.4\n")
    (root / "yolo" / "data.yaml").write_text(
        f"path: {root / 'yolo'}\ntrain: images\nval: images\nnames: {{0: a, 1: b}}\n"
    )


def make_words(root: Path, numbers: np.random.Generator) -> None:
    """Tokens of nanoGPT, words of a language model."""
    (root / "tokens").mkdir()
    (root / "words").mkdir()
    for split in ("train", "val"):
        tokens = numbers.integers(0, 100, 4000).astype(np.uint16)
        tokens.tofile(root / "tokens" / f"{split}.bin")
    (root / "tokens" / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 100}))
    for split in ("train", "valid", "test"):
        lines = [" ".join(f"w{n}" for n in numbers.integers(0, 50, 9)) for _ in range(300)]
        (root / "words" / f"{split}.txt").write_text("\n".join(lines))


def make_mnist(root: Path, numbers: np.random.Generator) -> None:
    """The files of MNIST, where the scripts look for them beside their working folder."""
    raw = root / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (root / "here" / "data").symlink_to(root / "data")
    for split, count in {"train": 5200, "t10k": 200}.items():
        pixels = numbers.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        digits = numbers.integers(0, 10, count, dtype=np.uint8)
        head = np.array([0x803, count, 28, 28], dtype=">i4").tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = np.array([0x801, count], dtype=">i4").tobytes()
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(head + digits.tobytes())


def make_llama(root: Path, numbers: np.random.Generator) -> None:
    """A small Llama with random weights, its tokenizer, and texts."""
    if not importlib.util.find_spec("transformers"):
        return
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(["<pad>", "</s>", *(f"w{n}" for n in range(98))])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(root / "llama")
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(root / "llama")
    texts = [" ".join(f"w{n}" for n in numbers.integers(0, 98, 20)) for _ in range(40)]
    pairs = [
        {"chosen": one, "rejected": other} for one, other in zip(texts, texts[::-1], strict=True)
    ]
    for name, rows in {"texts": [{"text": text} for text in texts], "pairs": pairs}.items():
        (root / name).mkdir()
        lines = "\n".join(map(json.dumps, rows))
        (root / name / "train.jsonl").write_text(lines)


MADE: Sequence[Callable[[Path, np.random.Generator], None]] = (
    *(make_images, make_coco, make_yolo, make_words, make_mnist, make_llama),
)


def command(case: Case, checkouts: Path) -> list[str] | None:
    """The words that name the script; None if it is not there."""
    if case.package and not importlib.util.find_spec(case.package):
        return None
    if case.kind == "module":
        return ["-m", case.script]
    path = checkouts / case.script
    if case.kind == "program":
        path = Path(sys.executable).parent / case.script
    return [str(path)] if path.is_file() else None


def tried(case: Case, words: list[str], *, steps: int, data: Path, out: Path) -> dict[str, str]:
    """A row of the table."""
    here = Path(words[-1]).parent if case.inside else data / "here"
    here.mkdir(exist_ok=True)
    arguments = case.arguments.format(*[data] * case.arguments.count("{}")).split()
    start = time.perf_counter()
    with (out.with_suffix(".log")).open("w") as log:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "halftrack", "run", "--steps", str(steps)),
                *("--out", str(out), *words, "--", *arguments),
            ],
            check=False,
            cwd=here,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=LONGEST,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    took = time.perf_counter() - start
    page = out / "rehearsal.json"
    if not page.is_file():
        last = out.with_suffix(".log").read_text().strip().splitlines()[-1:]
        return {"exit": str(ended.returncode), "reported": "".join(last)[:150]}
    found = json.loads(page.read_text())
    skipped = [step["why"] for step in found["steps"] if step["skipped"]]
    told = "; ".join(found["must_change"]) or "nothing must change"
    scale = found["loss_scale"]
    advised = "" if scale is None else f"; loss scale {scale['recommended']}"
    return {
        "exit": str(ended.returncode),
        "precision": found["precision"]["name"],
        "steps": f"{len(found['steps'])} of {steps}, {len(skipped)} skipped",
        "reported": f"{told}{advised}"[:300],
        "time": f"{took:.0f} s",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", help="names, with commas between them, or parts of them")
    parser.add_argument("--work", type=Path, help="folder for data, logs and pages")
    given = parser.parse_args()
    work = (given.work or Path(tempfile.mkdtemp())).absolute()
    data = work / "data"
    if not data.exists():
        (data / "here").mkdir(parents=True)
        for make in MADE:
            make(data, np.random.default_rng(0))
    columns = ("exit", "precision", "steps", "reported", "time")
    print(f"| script | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for number, (name, case) in enumerate(CASES.items()):
        wanted = not given.only or any(part in name for part in given.only.split(","))
        words = command(case, given.checkouts.absolute()) if wanted else None
        if words is None:
            continue
        out = work / f"{number:02d}"
        shutil.rmtree(out, ignore_errors=True)
        try:
            row = tried(case, words, steps=given.steps, data=data, out=out)
        except subprocess.TimeoutExpired:
            row = {"exit": f"over {LONGEST} s"}
        print(f"| {name} | {' | '.join(row.get(c, '-') for c in columns)} |", flush=True)


if __name__ == "__main__":
    main()
