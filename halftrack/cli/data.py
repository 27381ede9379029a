"""``halftrack data synthetic`` and ``halftrack data check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import check_folder, check_name, check_output
from halftrack.cli.console import progress_bar, tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.cli.options import DataRoot, RecipeName, Seed, Settings
from halftrack.cli.recipe import check_recipe, choose_recipe
from halftrack.errors import UserError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make synthetic video, or check your own data.")


@app.command()
def synthetic(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Write the folders of ImageNet VID (vid), MOT17 (mot) or LaSOT (sot).",
        ),
    ] = "vid",
    train_videos: Annotated[int, typer.Option(help="Number of training videos.")] = 14,
    val_videos: Annotated[int, typer.Option(help="Number of validation videos.")] = 6,
    frames: Annotated[int, typer.Option(help="Frames in each video.")] = 40,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other synthetic video in the folder.")
    ] = False,
) -> None:
    """Write synthetic video with its ground truth, to try halftrack without any data."""
    check_name("--layout", layout, ("vid", "mot", "sot"))
    check_output(out, "FOLDER")
    from halftrack.synthetic import SyntheticVideo, write_synthetic

    settings = SyntheticVideo(
        layout=layout,  # type: ignore[arg-type]
        seed=seed,
        train_videos=train_videos,
        val_videos=val_videos,
        frames=frames,
    )
    with progress_bar("filming", train_videos + val_videos) as progress:
        write_synthetic(out, settings, overwrite=overwrite, progress=progress)
    tell(f"synthetic video in {out}")


@app.command(hidden=True, context_settings={"ignore_unknown_options": True})
def sample(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Refuse the former name of `halftrack data synthetic`."""
    raise UserError("`halftrack data sample` is now `halftrack data synthetic`")


@app.command()
def check(
    recipe: RecipeName,
    data_root: DataRoot,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image too, which takes longer.")
    ] = False,
    settings: Settings = None,
) -> None:
    """Count what a recipe would read and list what is wrong with it.

    Exit code 3 says that problems were found.
    """
    check_recipe(recipe, None, settings)
    check_folder("--data-root", data_root)
    chosen = choose_recipe(recipe, None, settings)
    with progress_bar("reading") as progress:
        report = chosen.check_data(data_root, decode=decode, progress=progress)
    for line in report.lines():
        tell(line)
    if report.problems:
        raise typer.Exit(BAD_VERDICT)
