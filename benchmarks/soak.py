"""Soak: runs killed with -9 again and again, disks that fill up, damaged files; nothing is lost.

Every life of a run is a process of its own, forked from this one, which has imported torch and has
no thread yet. Half of the kills come at any moment, half while a checkpoint is being written.

    unshare --mount --map-root-user python benchmarks/soak.py --out runs/soak
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before any thread is there

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from damage import flipped, report
from measure import machine
from resume import differences, last_step, logged_steps

from halftrack.cli.exits import UNSAVED
from halftrack.recipes import load_recipe, train
from halftrack.recipes.kinds.settings import override
from halftrack.recipes.kinds.trained import TrainedRecipe
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import newest_checkpoint
from halftrack.training.files.run_files import UnsavedWeightsError
from halftrack.training.files.run_folder import holds_run

# The tiny recipes, and what makes their runs short.
RECIPES: dict[str, tuple[str, ...]] = {
    "selsa": (),
    "faster-rcnn": (),
    "siamese_rpn": ("data.pairs_per_batch=4", "data.pairs_per_epoch=48"),
    "reid": ("data.min_crops=2", "data.identities_per_batch=2", "data.crops_per_identity=2"),
}
EVERY = 2  # steps between checkpoints
PATIENCE = 600.0  # seconds for one life


class LostError(Exception):
    """Something that a run had done and that is not there after a kill."""


@dataclass
class Soaked:
    """What a recipe went through."""

    kills: int = 0
    while_writing: int = 0
    begun_anew: int = 0
    lost: int = 0
    runs: int = 0
    unequal: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="an empty or absent folder")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--kills", type=int, default=50, help="of each recipe")
    parser.add_argument("--full", type=int, default=20, help="times that the disk is filled")
    parser.add_argument("--damaged", type=int, default=50, help="flipped bits, and truncations")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(args.out / "cache")
    good = True
    columns = ["recipe", "steps", "runs", "kills", "while writing", "before the first file"]
    print("|", " | ".join([*columns, "most steps done again", "differences"]), "|")
    print("|---" * 8 + "|")
    for name in args.recipes:
        recipe, data_root = tiny(name, args.out)
        expected = finished(recipe, data_root, args.out / name / "undisturbed")
        found = soak(recipe, data_root, args.out / name, expected, args.kills, rng)
        print(
            f"| {recipe.name} | {expected['position']['steps']} | {found.runs} | {found.kills} | "
            f"{found.while_writing} | {found.begun_anew} | {found.lost} | {found.unequal} |",
            flush=True,
        )
        good = good and not found.unequal
    print()
    good = fill(recipe, data_root, args.out / "disk", expected, args.full, rng) and good
    good = damage(recipe, data_root, args.out / name, expected, args.damaged, rng) and good
    print(f"\n{machine()}")
    return 0 if good else 1


def tiny(name: str, out: Path) -> tuple[TrainedRecipe, Path]:
    """A tiny recipe that logs every step and saves every other, and its data."""
    recipe = load_recipe(f"{name}_tiny_sample").for_training()
    fields = ("workers=0", "log_every=1", f"checkpoint_every={EVERY}", "checkpoint_minutes=None")
    recipe = override(recipe, [*(f"training.{field}" for field in fields), *RECIPES[name]])
    layout = recipe.synthetic_layout
    data_root = out / f"data_{layout}"
    if not data_root.exists():
        films = SyntheticVideo(layout=layout, train_videos=2, val_videos=1, frames=8)
        write_synthetic(data_root, films)
    return recipe, data_root


def begin_life(recipe: TrainedRecipe, data_root: Path, out: Path) -> int:
    """Fork a process that trains, from where the folder's run is (``--resume auto``); its id."""
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose the other threads"
    said = out.with_suffix(".said")
    out.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 1
    try:
        with said.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        train(recipe, data_root=data_root, out=out, device="cpu")
        code = 0
    except UnsavedWeightsError:
        code = UNSAVED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit code of a life, None while it goes on."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def finished(recipe: TrainedRecipe, data_root: Path, out: Path) -> dict[str, Any]:
    """The last checkpoint of a run that is left alone from now on."""
    pid = begin_life(recipe, data_root, out)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise LostError(f"{out} ended with exit code {code}: see {out.with_suffix('.said')}")
    return read_checkpoint(newest_checkpoint(out)[0])


def soak(
    recipe: TrainedRecipe,
    data_root: Path,
    folder: Path,
    expected: dict[str, Any],
    kills: int,
    rng: random.Random,
) -> Soaked:
    """Kill runs until there were so many kills, and let each run end; looks after each kill."""
    found = Soaked()
    while found.kills < kills:
        found.runs += 1
        out = folder / f"run_{found.runs}"
        saved, code = 0, None
        while code is None and found.kills < kills:
            born, pid = time.time(), begin_life(recipe, data_root, out)
            code = killed(pid, out, born, rng)
            if code is None:
                found.kills += 1
                found.while_writing += is_writing(out, born)
                found.begun_anew += not holds_run(out)
                saved = after_kill(out, saved, found)
        if code:
            raise LostError(f"{out} ended with exit code {code}: see {out.with_suffix('.said')}")
        found.unequal += unequal(expected, out, finished(recipe, data_root, out))
    return found


def wait_until(true: Callable[[], bool], pid: int, *, pause: float = 0.02) -> int | None:
    """None when something is true, or the exit code of a life that ended before that."""
    end = time.monotonic() + PATIENCE
    while not true():
        if (code := ended(pid)) is not None:
            return code
        if time.monotonic() > end:
            raise LostError(f"process {pid} has done nothing for {PATIENCE:g} s")
        time.sleep(pause)
    return None


def is_writing(out: Path, born: float) -> bool:
    """Whether there is half a file of a life, not of one before it."""
    with suppress(FileNotFoundError):  # whole by now
        return any(file.stat().st_mtime > born for file in out.glob("*.partial"))
    return False


def killed(pid: int, out: Path, born: float, rng: random.Random) -> int | None:
    """Kill a life at some moment; the exit code if it ended before, else None."""
    now, aimed = last_step(out), rng.random() < 0.5
    wanted = now + rng.randint(0, 3 * EVERY)
    code = wait_until(lambda: last_step(out) >= wanted, pid)
    if code is None and aimed:
        code = wait_until(lambda: is_writing(out, born), pid, pause=0.0005)
    if code is not None:
        return code
    # A life's first step comes after seconds, a file is written within a few hundredths.
    time.sleep(rng.uniform(0, 0.05 if aimed else 3.0 if wanted == now else 0.3))
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code == -signal.SIGKILL else code


def after_kill(out: Path, saved: int, found: Soaked) -> int:
    """Make sure that what was saved is there, whole, and no older than it may be; its step."""
    reached = last_step(out)
    # A step is logged when the one before it has begun its file; the file before that is whole.
    begun = max(reached - 1, 0) // EVERY * EVERY
    newest, torn = 0, {}
    if holds_run(out):
        _, state, torn = newest_checkpoint(out)
        newest = state["position"]["steps"]
    if torn or newest < max(saved, begun - EVERY):
        raise LostError(f"{out}: at step {reached}, saved {newest}, before {saved}; torn: {torn}")
    found.lost = max(found.lost, reached - newest)
    return newest


def unequal(expected: dict[str, Any], out: Path, got: dict[str, Any]) -> int:
    """Tensors of the run that differ from the undisturbed one's, and other parts that do."""
    # As text: a score of nothing is NaN.
    plain = ("position", "schedule", "loss_scale")
    parts = [str(got[part]) == str(expected[part]) for part in plain]
    parts.append(logged_steps(out) == list(range(1, expected["position"]["steps"] + 1)))
    parts.append(not any(out.glob("*.partial")))
    momenta = (
        {str(number): each["momentum_buffer"] for number, each in of["optimizer"]["state"].items()}
        for of in (expected, got)
    )
    weights = differences(expected["state_dict"], got["state_dict"])
    return len(weights) + len(differences(*momenta)) + parts.count(False)


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    subprocess.run(["mount", *options], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def squeeze(ballast: Path, room: int) -> None:
    """Let a file grow until so many bytes of its disk are left, whatever else is written."""
    free = os.statvfs(ballast.parent)
    more = free.f_bavail * free.f_frsize - room
    if more > 0:
        with ballast.open("ab") as file, suppress(OSError):  # another was quicker
            os.posix_fallocate(file.fileno(), 0, file.tell() + more)


def told(said: Path) -> tuple[int, int]:
    """How often a run has told of a step's file that it could not write, and then could."""
    text = said.read_text()
    refused = re.findall(r"no space left on device while writing \S+/step_", text)
    return len(refused), text.count("is written, after: ")


def is_refused(ballast: Path, room: int, said: Path, before: tuple[int, int]) -> bool:
    """Whether a full disk, which is kept full, has been told once more."""
    squeeze(ballast, room)
    return told(said)[0] > before[0]


def is_mended(said: Path, before: tuple[int, int]) -> bool:
    """Whether a file is written once more after that."""
    return told(said)[1] > before[1]


def fill(
    recipe: TrainedRecipe,
    data_root: Path,
    folder: Path,
    expected: dict[str, Any],
    times: int,
    rng: random.Random,
) -> bool:
    """Leave a disk less room than a checkpoint needs, so often; True if the runs were the same."""
    done = runs = differ = 0
    while done < times:
        runs += 1
        with disk(folder / f"run_{runs}", 256) as out:
            pid, said = begin_life(recipe, data_root, out), out.with_suffix(".said")
            code = wait_until(partial(holds_run, out), pid)
            while code is None and done < times:
                before = told(said)
                size = max(file.stat().st_size for file in out.glob("step_*.pth"))
                room = int(rng.uniform(0.05, 0.95) * size)
                code = wait_until(partial(is_refused, out / "ballast", room, said, before), pid)
                (out / "ballast").unlink()
                if code is None:
                    done += 1
                    code = wait_until(partial(is_mended, said, before), pid)
            if code is None:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code not in (0, UNSAVED):
                raise LostError(f"{out} ended with exit code {code}: see {said}")
            # With a full disk at its end a run is not done: it goes on in another life.
            differ += unequal(expected, out, finished(recipe, data_root, out))
    print(f"{recipe.name}: a full disk in {done} writes, {runs} runs, {differ} differences")
    return not differ


def damage(
    recipe: TrainedRecipe,
    data_root: Path,
    folder: Path,
    expected: dict[str, Any],
    count: int,
    rng: random.Random,
) -> bool:
    """Flip bits of the newest file and cut it off, and let a run of each kind go on from that."""
    newest = newest_checkpoint(folder / "undisturbed")[0]
    good, scratch = newest.read_bytes(), folder / "damaged"
    (before,) = {*newest.parent.glob("step_*.pth")} - {newest}
    scratch.mkdir()
    shutil.copy(before, scratch / "step_1.pth")
    kinds = {
        "flipped bits": lambda: flipped(good, rng.sample(range(8 * len(good)), count)),
        "truncations": lambda: (good[:end] for end in rng.sample(range(len(good)), count)),
    }
    well = True
    for kind, contents in kinds.items():
        well = report(scratch, f"{recipe.name}, {kind}", good, contents()) and well
        out = folder / kind.replace(" ", "_")
        shutil.copytree(newest.parent, out)
        (out / newest.name).write_bytes(next(iter(contents())))
        differ = unequal(expected, out, finished(recipe, data_root, out))
        print(f"a run that went on from the file before: {differ} differences")
        well = well and not differ
    return well


if __name__ == "__main__":
    raise SystemExit(main())
