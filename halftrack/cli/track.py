"""``halftrack track``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halftrack.bounds import shown
from halftrack.cli.checks import check_device, check_file, check_output
from halftrack.cli.console import progress_bar, tell
from halftrack.cli.options import (
    ClassNames,
    DetectorFile,
    Device,
    NativeHalf,
    PrecisionName,
    ReIDFile,
    Settings,
    TestBatch,
    Trust,
)
from halftrack.cli.processes import own_rank
from halftrack.cli.recipe import (
    check_parts,
    choose_recipe,
    find_recipe,
    with_classes,
    with_native_half,
    with_parts,
)
from halftrack.cli.videos import find_videos
from halftrack.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from halftrack.recipes import Recipe
    from halftrack.recipes.kinds.recipe import Box
    from halftrack.recipes.opened import Video
    from halftrack.report.track_video import TrackedVideo

__all__ = ["first_box", "track"]

_FURTHEST = 1e6  # pixels of a first box, far beyond any video


def track(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO",
            help="Video files, folders of images or of MOTChallenge sequences, patterns, pictures "
            "of one folder, the number of a camera (0) or the address of a stream (rtsp://...).",
        ),
    ],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Name of a tracktor, siamese_rpn, selsa or faster-rcnn recipe (`halftrack "
            "recipes` lists them), or a file, as in the other commands.",
        ),
    ],
    init_box: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Follow the object in this box of the first frame: left, top, width, height in "
            "pixels, or a file whose first line is that (siamese_rpn recipes only).",
        ),
    ] = None,
    classes: ClassNames = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Track with this checkpoint. Default for Tracktor: the two checkpoints the recipe "
            "names.",
        ),
    ] = None,
    detector: DetectorFile = None,
    reid: ReIDFile = None,
    detections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Start tracks from the boxes of another detector: rows "
            "frame,-1,left,top,width,height,score, as MOTChallenge's det.txt (tracktor recipes).",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Write tracks and film to this folder."),
    ] = Path("tracks"),
    film: Annotated[
        bool, typer.Option(help="Write the film with boxes, ids and trails, or leave it out.")
    ] = True,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Show the film in a window while it is made; q, Escape or closing the window "
            "stops, and what was tracked so far is kept.",
        ),
    ] = False,
    show_errors: Annotated[
        Path | None,
        typer.Option(
            metavar="GT",
            help="Paint misses red, false positives yellow and identity switches magenta, by this "
            "gt.txt of MOTChallenge, and list the ten worst moments (tracktor recipes).",
        ),
    ] = None,
    batch: TestBatch = None,
    precision: PrecisionName = None,
    native_half: NativeHalf = False,
    device: Device = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Track the objects of videos and write tracks and films.

    Writes VIDEO.txt (as MOTChallenge, LaSOT or ImageNet VID take it), VIDEO.jsonl, VIDEO.csv and
    VIDEO.mp4 (H.264) for each. Tracktor recipes track all people, or all objects of --classes;
    siamese_rpn recipes track the one object in --init-box; selsa and faster-rcnn recipes detect in
    each frame.
    Ctrl-C ends a camera or stream, and its files are complete.
    """
    source = find_recipe(recipe, precision, settings)
    check_parts(checkpoint, detector, reid)
    found = find_videos(videos)
    check_file("--detections", detections)
    if detections is not None and len(found) > 1:
        raise UserError(f"--detections {detections} is of one video, and {len(found)} are given")
    check_file("--show-errors", show_errors)
    if show_errors is not None and len(found) > 1:
        raise UserError(f"--show-errors {show_errors} is of one video, and {len(found)} are given")
    check_output(out)
    check_device(device)
    box = None if init_box is None else first_box(init_box)
    chosen = with_parts(choose_recipe(source, precision, settings), detector, reid)
    chosen = with_native_half(chosen, native_half, precision=precision, device=device)
    chosen = with_classes(chosen, classes)
    if batch is not None:
        chosen = chosen.with_test_batch(batch)
    if detections is not None:
        chosen = chosen.beside_detections()
    if show_errors is not None:
        from halftrack.recipes.opened import check_errors_shown

        check_errors_shown(chosen)
    if own_rank():  # one process tracks a video
        return
    chosen.video_tracker(box)  # refuses a recipe that does not track, and a box it does not take
    if checkpoint is None and chosen.needs_checkpoint:
        raise UserError(f"--checkpoint is missing: {chosen.name} needs weights to track with")
    with _stoppable():
        sources = _opened(chosen, found, box, detections)
        chosen.check_checkpoint(checkpoint)
        window = None
        if show:
            from halftrack.report.window import Window

            window = Window("halftrack track")
        from halftrack.recipes.run import choose_device, open_model  # here: torch
        from halftrack.report.track_video import track_video

        @cache
        def load() -> nn.Module:
            return open_model(chosen, checkpoint, choose_device(device), trust=trust)

        for done, video in enumerate(sources, start=1):
            with progress_bar("tracking") as progress:
                tracked = track_video(
                    chosen,
                    video,
                    out,
                    init_box=box,
                    load=load,
                    film=film,
                    show_errors=show_errors,
                    window=window,
                    progress=progress,
                )
            _tell_result(tracked, chosen.text_format)
            if window is not None and window.closed:
                if done < len(sources):
                    tell(f"videos left out: {len(sources) - done}")
                break


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C ends the program with a line and what its notes say of files."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        tell("\n".join(["stopped", *getattr(stopped, "__notes__", [])]))
        raise typer.Exit(130) from None


def _opened(
    recipe: Recipe, found: Sequence[Video], box: Box | None, detections: Path | None
) -> list[Video]:
    """The videos, opened: whatever is wrong with one is told before the first is tracked.

    A camera or stream behind the first waits for its turn, since its frames do not wait.
    """
    from halftrack.recipes.opened import open_for

    return [
        video
        if number and isinstance(video, str)
        else open_for(recipe, video, init_box_xyxy=box, detections=detections)
        for number, video in enumerate(found)
    ]


def _tell_result(tracked: TrackedVideo, text_format: str) -> None:
    """Notes, counts, speed and files of one video."""
    for line in tracked.notes:
        tell(line)
    what = "detections" if text_format in ("vid", "det") else "tracks"
    speed = tracked.frames / max(tracked.seconds, 1e-9)
    tell(
        f"{tracked.name}: {tracked.tracks} {what} in {tracked.frames} frames, {speed:.1f} frames/s"
    )
    for line in tracked.worst:
        tell(f"  {line}")
    for file in tracked.files:
        tell(f"  {file}")


def first_box(text: str) -> tuple[float, float, float, float]:
    """Box as xyxy from ``x,y,w,h``, or from the first line of a file.

    Raises:
        UserError: if it is none; quotes it.
    """
    given = f"--init-box {shown(text)}"
    with suppress(OSError, ValueError):  # a name that is too long, or no name
        if Path(text).is_file():
            with Path(text).open("rb") as file:
                text = file.readline(1000).decode("utf-8-sig", errors="replace").strip()
            given += f", whose first line is {shown(text)}"
    try:
        x, y, width, height = (float(value) for value in text.replace(",", " ").split())
    except ValueError:
        raise UserError(f"{given}: expected x,y,w,h in pixels, or a file") from None
    if not all(abs(value) <= _FURTHEST for value in (x, y, width, height)) or (
        min(width, height) <= 0
    ):
        raise UserError(
            f"{given}: expected numbers up to {_FURTHEST:,.0f}, width and height above 0"
        )
    return x, y, x + width, y + height
