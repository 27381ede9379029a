"""The command line: a function a command.

Exit codes: 0 done, 1 a run that failed or a rehearsal after which something must change, 2 unusable
arguments or data, 130 / 143 ended by Ctrl-C / SIGTERM after saving.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import Progress

from halftrack.precision import NonFiniteGradientError
from halftrack.recipes import (
    RECIPES,
    Evaluation,
    Recipe,
    load_recipe,
    override,
    score_results,
)
from halftrack.recipes import evaluate as evaluate_recipe
from halftrack.recipes import replay as replay_step
from halftrack.recipes import train as train_recipe
from halftrack.report import published_row, read_log, render_table
from halftrack.report.eval_files import write_evaluation
from halftrack.report.track_video import track_video
from halftrack.studies.memory.gpu import parse_memory
from halftrack.studies.memory.plan import plan_memory
from halftrack.studies.memory.step_sizes import resized
from halftrack.studies.parity import run_parity
from halftrack.studies.quickstart import TASKS, run_quickstart
from halftrack.studies.rehearsal.answers import answers, memory_rows, module_rows, must_change
from halftrack.studies.rehearsal.page import write_page
from halftrack.studies.rehearsal.rehearse import rehearsable
from halftrack.studies.rehearsal.rehearse import rehearse as rehearse_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # fills the lines of a docstring anew
    pretty_exceptions_enable=False,
    help="Trains, evaluates and runs video perception models in half precision.",
)
data_app = typer.Typer(no_args_is_help=True, help="Make synthetic video, check your own data.")
app.add_typer(data_app, name="data")
console = Console()

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="See `halftrack recipes`.")]
DataRoot = Annotated[
    Path,
    typer.Option("--data-root", help="The folder that holds ILSVRC/, MOT17/, ... as downloaded."),
]
PrecisionName = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, bf16 or fp16; the recipe's own if left out."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Set a recipe field, e.g. training.lr=0.02."),
]
Seed = Annotated[int, typer.Option("--seed", help="Origin of all randomness.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, ...; the accelerator if left out.")
]
Init = Annotated[
    str | None,
    typer.Option(help="Weights to start from (halftrack, MMTracking, torchvision), or none."),
]
DetectorFile = Annotated[
    str | None,
    typer.Option("--detector", metavar="FILE", help="The detector's weights, of a tracker."),
]
ReIDFile = Annotated[
    str | None, typer.Option("--reid", metavar="FILE", help="The ReID model's weights, of one.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Unpickle any object in a weights file. Runs its code.")
]


def _tell(line: str) -> None:
    """One line as it is: a path may hold what rich takes for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _recipe(name: str, precision: str | None, settings: list[str] | None) -> Recipe:
    recipe = load_recipe(name)
    if precision is not None:
        recipe = recipe.with_precision(precision)
    return override(recipe, settings) if settings else recipe


def _with_parts(
    recipe: Recipe, checkpoint: Path | None, detector: str | None, reid: str | None
) -> Recipe:
    """A tracking recipe with other files for its parts."""
    if detector is None and reid is None:
        return recipe
    if checkpoint is not None:
        raise ValueError("--checkpoint holds both parts: leave out --detector and --reid")
    return recipe.with_parts(detector=detector, reid=reid)


@app.command()
def recipes() -> None:
    """List the recipes."""
    for name in RECIPES:  # a name is there to be copied: on a line of its own, however narrow
        recipe = load_recipe(name)
        console.print(f"[bold]{name}[/bold]  {recipe.precision.name}", soft_wrap=True)
        console.print(Padding(recipe.summary, (0, 0, 0, 4)))


@app.command()
def show(recipe: RecipeName, precision: PrecisionName = None, settings: Settings = None) -> None:
    """Print every field of a recipe as JSON; each can be given to --set."""
    console.print_json(json.dumps(_recipe(recipe, precision, settings).to_dict()))


@app.command()
def plan(
    recipe: RecipeName,
    gpu_memory: Annotated[
        str | None, typer.Option(help="Look for the largest sizes that fit, e.g. 11GB or 24GiB.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Height x width at network size, e.g. 608x1008.")
    ] = None,
    clips: Annotated[int | None, typer.Option(help="Samples that a step learns from.")] = None,
    objects: Annotated[int, typer.Option(help="Objects in a frame of a detector.")] = 50,
    out: Annotated[Path | None, typer.Option(help="A file for the plan as JSON.")] = None,
    settings: Settings = None,
) -> None:
    """Predict what a training step takes in memory, without computing it."""
    chosen = _recipe(recipe, None, settings).for_training()
    chosen = resized(chosen, image=image, clips=clips)
    memory = None if gpu_memory is None else parse_memory(gpu_memory)
    found = plan_memory(chosen, gpu_memory=memory, objects=objects)
    for title, rows in found.tables().items():
        console.print(render_table(rows, title=title))
    for line in found.notes():
        _tell(line)
    if out is not None:
        out.write_text(json.dumps(found.numbers(), indent=2), encoding="utf-8")
        _tell(f"written to {out}")


@app.command()
def rehearse(
    recipe: RecipeName,
    data_root: Annotated[
        Path | None, typer.Option(help="The recipe's data; synthetic video if left out.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp16 or bf16; if left out the recipe's own, and fp16 for fp32."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps to take.")] = 50,
    every: Annotated[int, typer.Option(help="Steps from one that is measured to the next.")] = 10,
    image: Annotated[
        str | None, typer.Option(help="Smaller images, height x width, e.g. 304x512.")
    ] = None,
    clips: Annotated[int | None, typer.Option(help="Samples that a step learns from.")] = None,
    islands: Annotated[
        bool, typer.Option("--islands", help="Search the modules that must stay in fp32.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where page and numbers go.")] = None,
    init: Init = None,
    seed: Seed = 0,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Begin a recipe's run on this CPU with a GPU's half precision; exit code 1 if it must change.

    Answers what overflows, why steps are skipped, what must stay in fp32 and how much memory a step
    takes, here and as an HTML page. Memory is that of the recipe's own sizes.
    """
    chosen = override(rehearsable(load_recipe(recipe), precision), settings or ())
    out = out or Path("runs") / f"{chosen.name}_rehearsal_{chosen.precision.name}"
    with Progress(console=console) as progress:
        task = progress.add_task("rehearsing", total=steps)
        found = rehearse_recipe(
            chosen,
            data_root=data_root,
            out=out,
            steps=steps,
            every=every,
            image=image,
            clips=clips,
            islands=islands,
            init=init,
            seed=seed,
            trust=trust,
            say=_tell,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    for answer in answers(found):
        console.print(f"\n[bold]{escape(answer.question)}[/]")
        console.print(answer.words, markup=False, highlight=False)
    notable = [row for row in module_rows(found) if row["what to do"] != "-"]
    if notable:
        console.print(render_table(notable, title="Modules to look at"))
    console.print(render_table(memory_rows(found), title="Peak of a training step"))
    changes = must_change(found)
    for change in changes:
        _tell(f"must change: {change}")
    _tell(f"written to {write_page(found, out)}")
    if found.interrupted:
        raise typer.Exit(130)
    if changes:
        raise typer.Exit(1)


@data_app.command("sample")
def data_sample(
    out: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    layout: Annotated[str, typer.Option(help="vid, mot or sot.")] = "vid",
    train_videos: Annotated[int, typer.Option(help="Training videos.")] = 14,
    val_videos: Annotated[int, typer.Option(help="Validation videos.")] = 6,
    frames: Annotated[int, typer.Option(help="Frames a video.")] = 40,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace other synthetic video there.")] = False,
) -> None:
    """Write synthetic video in the layout of ImageNet VID, MOT17 or LaSOT."""
    if layout not in ("vid", "mot", "sot"):
        raise ValueError(f"no layout {layout!r}; there are vid, mot, sot")
    settings = SyntheticVideo(
        layout=layout,  # type: ignore[arg-type]
        seed=seed,
        train_videos=train_videos,
        val_videos=val_videos,
        frames=frames,
    )
    with Progress(console=console) as progress:
        task = progress.add_task("filming", total=train_videos + val_videos)
        write_synthetic(
            out,
            settings,
            overwrite=overwrite,
            progress=lambda done, _: progress.update(task, completed=done),
        )
    _tell(f"synthetic video in {out}")


@data_app.command("check")
def data_check(
    recipe: RecipeName,
    data_root: DataRoot,
    decode: Annotated[bool, typer.Option(help="Decode every image too.")] = False,
    settings: Settings = None,
) -> None:
    """Count what a recipe would read and list what is wrong with it."""
    chosen = _recipe(recipe, None, settings)
    with Progress(console=console) as bar:
        task = bar.add_task("reading", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        report = chosen.check_data(data_root, decode=decode, progress=progress)
    for line in report.lines():
        _tell(line)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def train(
    recipe: RecipeName,
    data_root: DataRoot,
    out: Annotated[Path | None, typer.Option(help="Where checkpoints and the log go.")] = None,
    precision: PrecisionName = None,
    init: Init = None,
    seed: Seed = 0,
    device: Device = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint.")
    ] = False,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Train a recipe."""
    chosen = _recipe(recipe, precision, settings)
    out = out or Path("runs") / f"{chosen.name}_{chosen.precision.name}"
    result = train_recipe(
        chosen,
        data_root=data_root,
        out=out,
        seed=seed,
        init=init,
        device=device,
        resume=resume,
        trust=trust,
    )
    if result.interrupted is not None:
        raise typer.Exit(128 + result.interrupted)
    _tell(
        f"{result.steps} steps, {result.skipped} skipped, loss scale {result.loss_scale:g}; "
        f"results in {out}"
    )


@app.command()
def parity(
    recipe: RecipeName,
    data_root: DataRoot,
    seeds: Annotated[int, typer.Option(help="Pairs of runs, decided beforehand.")],
    precision: Annotated[str, typer.Option(help="fp16 or bf16.")] = "fp16",
    margin: Annotated[
        float,
        typer.Option(help="Mean difference that counts as none, in points: hundredths of AP50."),
    ] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Where runs and results go.")] = None,
    init: Init = None,
    device: Device = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Train pairs of runs in fp32 and half precision and test whether half is as good."""
    chosen = _recipe(recipe, None, settings)
    out = out or Path("runs") / f"{chosen.name}_parity_{precision}"
    found = run_parity(
        chosen,
        data_root=data_root,
        out=out,
        seeds=seeds,
        precision=precision,
        margin=margin,
        init=init,
        device=device,
        trust=trust,
        console=console,
    )
    for line in found.notes():
        _tell(line)
    _tell(found.verdict)
    if found.interrupted is not None:
        raise typer.Exit(128 + found.interrupted)
    _tell(f"results in {out}: parity.json, parity.csv, parity.png")


@app.command()
def replay(
    bundle: Annotated[Path, typer.Argument(help="A folder in a run's skipped/.")],
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, ...; the run's own if left out.")
    ] = None,
) -> None:
    """Run a skipped step again and say why it was skipped; exit code 1 if not as recorded."""
    answer = replay_step(bundle, device=device)
    for line in answer.lines():
        _tell(line)
    if not answer.same:
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    recipe: RecipeName,
    data_root: DataRoot,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The weights to score; a tracker names its parts'.")
    ] = None,
    detector: DetectorFile = None,
    reid: ReIDFile = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Score a folder of <sequence>.txt files instead of a model."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where numbers and tracks go.")] = None,
    precision: PrecisionName = None,
    device: Device = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Score a checkpoint, or result files, on the validation videos."""
    if results is not None and any((checkpoint, detector, reid, precision, device, trust)):
        raise ValueError("--results scores files: what says how a model runs does not go with it")
    chosen = _with_parts(_recipe(recipe, precision, settings), checkpoint, detector, reid)
    if checkpoint is None and results is None and chosen.needs_checkpoint:
        raise ValueError(f"--checkpoint is missing: the weights of {chosen.name} to score")
    if out is None:
        kind = chosen.precision.name if results is None else "results"
        out = checkpoint.parent if checkpoint else Path("runs") / f"{chosen.name}_{kind}"
    with Progress(console=console) as progress:
        task = progress.add_task("scoring", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        evaluation: Evaluation
        if results is not None:
            evaluation = score_results(chosen, results, data_root=data_root)
        else:
            evaluation = evaluate_recipe(
                chosen,
                data_root=data_root,
                checkpoint=checkpoint,
                device=device,
                trust=trust,
                progress=tell,
            )
    memory = None if checkpoint is None else _training_memory(checkpoint)
    row = published_row(chosen, evaluation, memory_mb=memory, checkpoint=checkpoint)
    console.print(render_table([row]))
    for title, rows in evaluation.tables().items():
        console.print(render_table(rows, title=title))
    console.print(evaluation.flat() or "no ground truth, so no scores")
    for line in evaluation.skipped:
        _tell(line)
    for line in write_evaluation(out, chosen, evaluation, row=row, scored=results):
        _tell(line)


def _first_box(text: str) -> tuple[float, float, float, float]:
    """Xyxy of ``x,y,w,h``, or of the first line of a file."""
    if Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8").partition("\n")[0]
    try:
        x, y, width, height = (float(value) for value in text.replace(",", " ").split())
    except ValueError:
        raise ValueError(f"--init-box takes x,y,w,h or a file, got {text!r}") from None
    return x, y, x + width, y + height


@app.command()
def track(
    video: Annotated[Path, typer.Argument(help="A video file, folder of frames, MOT sequence.")],
    recipe: Annotated[str, typer.Option("--recipe", help="A recipe that tracks.")],
    init_box: Annotated[
        str | None,
        typer.Option(
            help="x,y,w,h of the one object to follow in the first frame, or a file whose first "
            "line says so."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights of both parts; else those the recipe names.")
    ] = None,
    detector: DetectorFile = None,
    reid: ReIDFile = None,
    out: Annotated[Path, typer.Option(help="Where text, JSON lines and film go.")] = Path("tracks"),
    film: Annotated[bool, typer.Option(help="Write an mp4 with boxes, ids and trails.")] = True,
    precision: PrecisionName = None,
    device: Device = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Follow the objects of a video, or one of them: MOT text, JSON lines, an H.264 film."""
    chosen = _with_parts(_recipe(recipe, precision, settings), checkpoint, detector, reid)
    box = None if init_box is None else _first_box(init_box)
    chosen.video_tracker(box)  # what cannot be tracked is told before the video is opened
    try:
        with Progress(console=console) as progress:
            task = progress.add_task("tracking", total=None)
            tracked = track_video(
                chosen,
                video,
                out,
                init_box=box,
                checkpoint=checkpoint,
                device=device,
                trust=trust,
                film=film,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except KeyboardInterrupt as stopped:
        _tell(f"stopped{_told(stopped)}")
        raise typer.Exit(130) from None
    for line in tracked.notes:
        _tell(line)
    _tell(f"{tracked.tracks} tracks in {tracked.frames} frames")
    for file in tracked.files:
        _tell(f"  {file}")


def _training_memory(checkpoint: Path) -> float | None:
    """Peak training memory in MB, if the checkpoint lies beside the log of a run on a GPU."""
    log = checkpoint.parent / "log.jsonl"
    try:
        rows = read_log(log)
    except (OSError, ValueError):
        return None
    # On a CPU the log has the whole process's memory, which no table compares.
    if any(row.get("device") == "cpu" for row in rows):
        return None
    return max((row["memory"] for row in rows if "memory" in row), default=None)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("runs/quickstart"),
    task: Annotated[str, typer.Option(help=f"{', '.join(TASKS)} or all.")] = "all",
    seed: Seed = 0,
) -> None:
    """Train the tiny recipes on synthetic video in fp32, bf16 and fp16, score them, show tables."""
    run_quickstart(out, task=task, seed=seed, console=console)


def main() -> None:
    """Run the command line; a user's error is told in one line, not in a traceback."""
    errors = Console(stderr=True)
    try:
        app()
    except (ValueError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(_told(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from error
    except (NonFiniteGradientError, RuntimeError) as error:
        errors.print(f"[red]failed:[/] {escape(_told(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from error


def _told(error: BaseException) -> str:
    """The message, and beneath it what became of the files that were being written."""
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


if __name__ == "__main__":
    main()
