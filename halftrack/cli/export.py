"""``halftrack export`` and ``halftrack publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import check_name, check_new_file, check_weights
from halftrack.cli.console import tell
from halftrack.cli.options import DetectorFile, ReIDFile, Trust
from halftrack.cli.recipe import check_parts, choose_recipe, find_recipe, with_parts
from halftrack.errors import MissingFileError, UserError
from halftrack.interop.onnx.packages import check_onnx

__all__ = ["export", "publish"]

_ENDINGS = {
    "mmtracking": ".pth",
    "safetensors": ".safetensors",
    "torchscript": ".pt",
    "onnx": ".onnx",
}


def export(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, of which best.pth is taken, or a checkpoint; of step_N.pth "
            "MMTracking's format takes the optimizer too. Leave it out to put a tracker together "
            "from --detector and --reid.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Write a checkpoint that MMTracking loads (mmtracking), tensors with the recipe "
            "as metadata (safetensors), inference that torch.jit.load reads (torchscript: of "
            "SiamRPN++ and ReID), or inference for onnxruntime, compared with PyTorch's (onnx).",
        ),
    ] = "mmtracking",
    half: Annotated[
        bool,
        typer.Option("--half", help="Keep the weights in fp16: half of the size (onnx only)."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write this file. Default: the recipe's name, in the current folder.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Recipe of the weights, where the checkpoint does not say it."
        ),
    ] = None,
    detector: DetectorFile = None,
    reid: ReIDFile = None,
    trust: Trust = False,
) -> None:
    """Write the weights of a run for other programs."""
    check_name("--format", form, tuple(_ENDINGS))
    if half and form != "onnx":
        raise UserError(f"--half goes with --format onnx, not with {form}")
    check_new_file("--out", out)
    source = None if recipe is None else find_recipe(recipe, None, None)
    if run is None and (recipe is None or detector is None):
        raise UserError("nothing to export: name a RUN, or a tracker with --recipe and --detector")
    if run is not None and not run.exists():
        raise MissingFileError(f"RUN {run}: there is no such folder or file")
    if run is not None and (detector is not None or reid is not None):
        raise UserError(f"RUN {run} holds both parts: leave out --detector and --reid")
    if run is not None and not run.is_dir():
        check_weights("RUN", run)
    check_parts(None, detector, reid)
    if form == "onnx":
        check_onnx()
    from halftrack.interop.checkpoints.export import export as write
    from halftrack.interop.checkpoints.export import recipe_of, weights_file

    file = None if run is None else weights_file(run)
    if source is not None:
        chosen = with_parts(choose_recipe(source, None, None), detector, reid)
    else:
        assert file is not None
        chosen = recipe_of(file)
    target = out or Path(f"{chosen.name}{_ENDINGS[form]}")
    model = chosen.load_model(file, trust=trust)
    if form == "onnx":
        from halftrack.interop.onnx.write import write_onnx

        for each in write_onnx(chosen, model, target, half=half):
            tell(f"{file or chosen.name} as onnx in {each.file}: {each.apart}")
        return
    trained = write(chosen, model, target, form, checkpoint=file)
    tell(f"{file or chosen.name} as {form} in {target}{', with its optimizer' * trained}")


def publish(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A checkpoint, e.g. runs/NAME/best.pth."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Name of the file; -HASH is put behind it. Default: the recipe's name, beside the "
            "checkpoint.",
        ),
    ] = None,
) -> None:
    """Strip a checkpoint to its weights, hash in its name."""
    check_new_file("--out", out)
    check_weights("FILE", checkpoint)
    from halftrack.interop.checkpoints.publish import publish as write

    tell(f"published as {write(checkpoint, out)}")
