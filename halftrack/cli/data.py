"""``halftrack data``: synthetic video, and data of one's own checked and shown."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import check_folder, check_name, check_output, number
from halftrack.cli.console import progress_bar, tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.cli.help import Command
from halftrack.cli.options import Seed, Settings
from halftrack.cli.own_data import OwnPath, check_own, is_path, own_data
from halftrack.cli.recipe import choose_recipe, find_recipe
from halftrack.errors import UserError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Write synthetic video; check, show and split data of your own."
)


@app.command(cls=Command)
def synthetic(
    out: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="A folder that is new or empty."),
    ],
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Write the folders of ImageNet VID (vid), MOT17 (mot) or LaSOT (sot).",
        ),
    ] = "vid",
    train_videos: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 0, 10_000),
            help="Write N training videos.",
        ),
    ] = 14,
    val_videos: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 0, 10_000),
            help="Write N validation videos.",
        ),
    ] = 6,
    frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 8, 100_000),
            help="Write N frames a video, at least 8.",
        ),
    ] = 40,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other synthetic video in the folder.")
    ] = False,
) -> None:
    """Write synthetic video with ground truth.

    Lets you try halftrack before you have downloaded a data set.
    """
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


@app.command(cls=Command)
def check(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="PATH|RECIPE",
            help="A folder or file of your own, or the name of a recipe, with --data-root.",
        ),
    ],
    data_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder that contains the data sets of RECIPE, as downloaded."
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image too. This takes longer.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With a recipe: score the <sequence>.txt files in this folder too, as `halftrack "
            "eval --results` does, and list what it would stop at.",
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Look for problems in your data, or in the data of a recipe.

    Reads all annotations, looks for all images, counts them and lists every problem. For a folder
    or file of yours it also says which layout that is in and which recipes can use it. Exit code 3
    means that there are problems.
    """
    if is_path(recipe, data_root):
        if results is not None or settings:
            raise UserError("--results and --set are for a recipe: leave them out, or name one")
        check_own(recipe, decode=decode)
        return
    source = find_recipe(recipe, None, settings)
    assert data_root is not None
    check_folder("--data-root", data_root)
    check_folder("--results", results)
    chosen = choose_recipe(source, None, settings)
    with progress_bar("reading") as progress:
        report = chosen.check_data(data_root, decode=decode, progress=progress)
    if results is not None:
        report = report.with_set(chosen.check_results(results, data_root=data_root))
    for line in report.lines():
        tell(line)
    if report.problems:
        raise typer.Exit(BAD_VERDICT)


@app.command(cls=Command)
def show(
    path: OwnPath,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Draw the tracks in this folder's <sequence>.txt too, ground truth in thin white.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Write pictures or films to this folder.")
    ] = Path("pictures"),
    film: Annotated[
        bool,
        typer.Option("--film", help="Write a film of each video, not pictures of some frames."),
    ] = False,
    frames: Annotated[
        int,
        typer.Option(
            metavar="N", parser=number(int, 1, 100_000), help="Draw N frames of each video."
        ),
    ] = 4,
    videos: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 1, 100_000),
            help="Draw the first N videos of a data set.",
        ),
    ] = 8,
) -> None:
    """Draw the boxes of your data into frames, as pictures or films."""
    check_folder("--results", results)
    check_output(out)
    found = own_data(path)
    from halftrack.report.data_pictures import show_data

    with progress_bar("drawing") as progress:
        drawn = show_data(
            found,
            out,
            results=results,
            film=film,
            frames=frames,
            videos=videos,
            progress=progress,
        )
    for data, files in drawn.items():
        tell(f"{data}: {len(files)} {'films' if film else 'pictures'} in {out}")
        for file in files[:8]:
            tell(f"  {file}")


@app.command(cls=Command)
def split(
    path: OwnPath,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Write the parts to this folder, new or empty."),
    ],
    share: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            parser=number(float, 0.001, 0.999),
            help="Keep this share of the videos for validation.",
        ),
    ] = 0.2,
    seed: Seed = 0,
) -> None:
    """Divide your data into training and validation videos.

    Writes a new folder that recipes read and leaves PATH as it is: folders are linked, lists and
    annotations written, YOLO's text files turned into COCO's JSON, and video files into images.
    """
    check_output(out)
    found = own_data(path)
    if len(found) > 1:
        places = ", ".join(str(each.place) for each in found)
        raise UserError(f"{path} holds several data sets, split one of them: {places}")
    from halftrack.data.own.split import split_data

    with progress_bar("unpacking") as progress:
        parts = split_data(found[0], out, share=share, seed=seed, progress=progress)
    tell(f"{found[0]}")
    for name, names in (("train", parts.train), ("validation", parts.val)):
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        tell(f"  {name}: {len(names)}, {shown}")
    tell(f"see which recipes use it: halftrack data check {shlex.quote(str(out))}")
