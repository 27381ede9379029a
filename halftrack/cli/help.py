"""Help texts: options in groups, and two examples at the end of each command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

__all__ = ["EXAMPLES", "GROUPS", "Command"]

GROUPS = {
    "Data": (
        "data_root", "init_box", "detections", "image", "samples", "objects", "layout",
        "train_videos", "val_videos", "frames", "videos", "share", "decode", "results", "classes",
    ),
    "Model": ("recipe", "is_module", "options", "checkpoint", "detector", "reid", "init", "trust",
        "settings"),
    "Precision": ("precision", "baseline", "gpu_memory", "islands", "margin", "every",
        "native_half"),
    "Run": ("steps", "seeds", "seed", "batch", "device", "gpus", "max_restarts", "resume",
        "data_changed", "resume_from", "task", "full", "fields", "trials", "metric", "sampler",
        "cache_size"),
    "Output": ("out", "form", "half", "keys", "table", "once", "tensorboard", "wandb", "film",
        "show", "show_errors", "overwrite", "as_json"),
}  # fmt: skip
"""Headings, and the parameters that stand beneath each."""

EXAMPLES = {
    "show": (
        "show selsa_tiny_sample",
        "show selsa_tiny_sample --set training.lr=0.02 --precision fp16",
    ),
    "import": (
        "import configs/mine.py -o mine.py",
        "import configs/mine.py --cfg-options optimizer.lr=0.02",
    ),
    "plan": (
        "plan faster-rcnn_r50_fpn_4e_mot17-half --gpu-memory 11GB",
        "plan selsa_tiny_sample --gpus 8 --set training.accumulate=8",
    ),
    "bench": ("bench selsa_tiny_sample", "bench reid_tiny_sample --steps 20 --json"),
    "rehearse": (
        "rehearse selsa_tiny_sample --steps 10",
        "rehearse reid_r50_fp16_8x32_6e_mot17 --data-root DATA --islands",
    ),
    "run": (
        "run train.py --steps 20 -- --amp --batch-size 4",
        "run -m mine.train -- --device cuda",
    ),
    "train": (
        "train selsa_tiny_sample --data-root SYNTHETIC --precision fp16",
        "train selsa_tiny_sample --data-root SYNTHETIC --resume must",
    ),
    "parity": (
        "parity reid_tiny_sample --data-root SYNTHETIC --seeds 20",
        "parity reid_tiny_sample --data-root DATA --seeds 5 --precision bf16",
    ),
    "replay": (
        "replay runs/selsa_tiny_sample_fp16/skipped/step_1",
        "replay runs/selsa_tiny_sample_fp16/skipped/step_1 --device cpu",
    ),
    "eval": (
        "eval selsa_tiny_sample --data-root SYNTHETIC --checkpoint best.pth",
        "eval tracktor_tiny_sample --data-root SYNTHETIC --results FOLDER",
    ),
    "tune": (
        "tune my.py --data-root DATA --field tracker.lr=0.2,0.3,0.4",
        "tune my.py --data-root D --field tracker.reid_iou=0:0.5 --trials 50",
    ),
    "track": (
        "track *.mp4 --recipe tracktor_tiny_sample --detector D --reid R",
        "track a.mp4 --recipe siamese_rpn_tiny_sample --init-box 40,30,80,60",
    ),
    "plot": (
        "plot runs/selsa_tiny_sample_fp16",
        "plot work/theirs.log.json runs/ours --keys loss,lr --out curves.html",
    ),
    "watch": ("watch runs/selsa_tiny_sample_fp16", "watch runs/selsa_tiny_sample_fp16 --once"),
    "report": (
        "report runs/selsa_tiny_sample_fp16",
        "report runs/selsa_tiny_sample_fp16 --tensorboard events",
    ),
    "compare": (
        "compare runs/selsa_tiny_sample_fp32 runs/selsa_tiny_sample_fp16",
        "compare runs/first runs/second --keys loss,lr --out both.html",
    ),
    "export": (
        "export runs/selsa_tiny_sample_fp16",
        "export runs/selsa_tiny_sample_fp16 --format onnx --half",
    ),
    "publish": (
        "publish runs/selsa_tiny_sample_fp16/best.pth",
        "publish runs/selsa_tiny_sample_fp16/best.pth --out selsa.pth",
    ),
    "quickstart": ("quickstart", "quickstart --task vid --full"),
    "data check": (
        "data check DATA",
        "data check siamese_rpn_r50_20e_lasot --data-root DATA --decode",
    ),
    "data show": ("data show DATA", "data show DATA --results tracks --film"),
    "data split": (
        "data split DATA --out parts",
        "data split annotations/all.json --out parts --share 0.3",
    ),
    "data synthetic": (
        "data synthetic SYNTHETIC",
        "data synthetic SYNTHETIC --layout mot --seed 1",
    ),
}
"""Two command lines by the words of a command, without the program's name."""


class Command(TyperCommand):
    """A command whose help groups its options and ends with examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then each group of options, then the rest."""
        groups: dict[str, list[tuple[str, str]]] = {
            heading: [] for heading in ("Arguments", *GROUPS, "Options")
        }
        by_name = {name: heading for heading, names in GROUPS.items() for name in names}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                heading = "Arguments" if argument else by_name.get(parameter.name or "", "Options")
                groups[heading].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the command's examples."""
        group = ctx.parent  # the program's own is no word of its commands
        inside = group is not None and group.parent is not None
        words = f"{group.info_name} {self.name}" if inside else self.name
        if words in EXAMPLES:
            with formatter.section("Examples"):
                for example in EXAMPLES[words]:
                    formatter.write(f"{'':>{formatter.current_indent}}halftrack {example}\n")
