"""What a reader of README.md or docs/ can copy runs, in order, on small data.

A piece that cannot run here is listed in ``NOT_RUN`` with the reason. Of every piece the command,
the options, the recipe and the settings exist. What pages name (DATA, RECIPE, runs/X) is made by
``tools/page_stage.py`` and ``tools/page_words.py``: a new page may need another line there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from page_blocks import PAGES, ROOT, Piece, check_command, check_option, is_mention, pieces
from page_recipes import small_recipes
from page_stage import build_stage
from page_words import is_of_a_file, placed, python_names, staged
from torch.distributed.run import get_args_parser

from halftrack.cli import main
from halftrack.cli.console import console

NOT_RUN = {
    "make ": "installs from the network, or runs these tests",
    "source ": "makes the program known to a shell",
    "pip ": "installs from the network",
    "halftrack quickstart": "takes minutes; tests/studies/quickstart runs a small one",
    "torchrun": "starts processes; tests/cli/test_processes.py does",
    "#SBATCH": "asks SLURM for machines",
    "HOST=": "asks SLURM for machines",
    "srun": "asks SLURM for machines",
    "python benchmarks/": "measures for minutes",
    "python examples/": "tests/test_examples.py runs those that need no other trainer",
    "--format onnx": "needs the extra onnx",
    "import onnxruntime": "needs the extra onnx",
    "--tensorboard": "needs the extra tensorboard",
    "trainer.fit(": "needs Lightning, transformers and Accelerate",
    "unseen synthetic video": "is what the quickstart prints",
    "skipped, non-finite": "is what a training prints",
    "errors in a second": "is what a tracking prints",
    "my-videos/ILSVRC/Data": "are files",
    "my-streets/street_00/": "are files",
    "my-targets/van/van-1/": "are files",
}
"""Words of a piece, and why it is not run."""
OTHERS = {"--", "--amp", "--eval"}
"""Options of other programs that pages speak of."""
VERDICTS = ("halftrack rehearse", "halftrack parity")
"""Commands whose answer may be bad, with exit code 3, after so little training."""
MISSED = ("halftrack data check my-videos", "halftrack data check my-targets")
"""Commands whose answer is bad: the pages say what is missing before the data are divided."""
MADE = {
    "docs/mot.md": ("compared/*", "tracks/*.mp4"),
    "docs/sot.md": ("compared/*", "followed/*.mp4"),
    "docs/vid.md": ("found/*.mp4", "truth/*"),
}
"""What a page's commands leave where it says."""
LEAST_RUN = {
    "docs/from_mmtracking.md": 15,
    **dict.fromkeys(("docs/mot.md", "docs/vid.md", "docs/sot.md"), 8),
}
"""Pieces that run at least, so that no page passes because none of its pieces is found."""
SLOW = {
    *("README.md", "docs/distributed.md", "docs/from_mmtracking.md", "docs/mot.md"),
    *("docs/numerics.md", "docs/own_data.md", "docs/recipes.md", "docs/rehearse.md"),
    *("docs/sot.md", "docs/vid.md"),
}
"""Pages that train, track or plan."""
FOUND = {page: list(pieces(page)) for page in PAGES}
OTHER_PAGES = ("benchmarks/README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
"""Pages for those who change the code, whose commands must exist."""
ALL = [
    *(piece for found in FOUND.values() for piece in found),
    *(piece for page in OTHER_PAGES for piece in pieces(page)),
]
COMMANDS = [piece for piece in ALL if piece.kind in ("command", "inline")]


def is_run(piece: Piece) -> bool:
    """A piece is code or a whole command, and nothing keeps it from running here."""
    if piece.kind == "option" or any(text in piece.text for text in NOT_RUN):
        return False
    if piece.kind != "inline" or piece.words[0] != "halftrack":
        return True
    return not is_mention(placed(piece.words))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage")
    build_stage(folder)
    return folder


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in PAGES],
)
def test_all_of_a_page_runs_from_top_to_bottom(
    page: str,
    stage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shutil.copytree(stage, tmp_path / "here", symlinks=True))
    monkeypatch.setattr(console, "_width", 200)
    names = python_names(page)
    for piece in filter(is_run, FOUND[page]):
        if piece.kind == "python":
            run_python(piece.text, names)
            continue
        assert piece.text.startswith("halftrack "), f"neither runs nor in NOT_RUN: {piece.text}"
        words = staged(piece.words)
        code = run_command(monkeypatch, words)
        told = capsys.readouterr()
        allowed = (0, 3) if piece.text.startswith(VERDICTS) else (0,)
        if words[1] == "rehearse" and is_of_a_file(words):
            allowed = (0,)  # of steps enough for the loss scale to come down
        allowed = (3,) if piece.text.startswith(MISSED) else allowed
        assert code in allowed, f"{piece.text}\nran as: {shlex.join(words)}\n{told.out}{told.err}"
    for made in MADE.get(page, ()):
        assert list(Path().glob(made)), made


@pytest.mark.parametrize("page", LEAST_RUN)
def test_no_page_passes_because_nothing_of_it_runs(page: str) -> None:
    assert sum(map(is_run, FOUND[page])) >= LEAST_RUN[page]


def run_python(text: str, names: dict[str, Any]) -> None:
    """Run code of a page, and the test functions that it defines."""
    with small_recipes():
        exec(compile(text, text, "exec"), names)
        for name in [name for name in names if name.startswith("test_")]:
            names.pop(name)()


def run_command(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> int:
    """The exit code of a command; recipes are small, but for those that files build on."""
    monkeypatch.setattr(sys, "argv", words)
    try:
        with nullcontext() if is_of_a_file(words) else small_recipes():
            main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES])
def test_commands_options_recipes_and_settings_exist(page: str) -> None:
    for piece in COMMANDS:
        words = piece.words
        words = shlex.split(words[-1]) if "bash" in words else words
        if piece.page != page:
            continue
        if "torchrun" in words and "-m" in words:
            get_args_parser().parse_args(words[words.index("torchrun") + 1 :])
        if "halftrack" in words:
            command = placed(words[words.index("halftrack") :])
            mention = is_mention(command)
            assert not mention or piece.kind == "inline" or "..." in words, piece.text
            check_command(command, whole=not mention)


def test_options_that_are_spoken_of_exist() -> None:
    for piece in ALL:
        if piece.kind == "option" and piece.text.split()[0] not in OTHERS:
            check_option(piece.text.split())


def test_programs_extras_and_targets_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for piece in COMMANDS:
        first, *words = piece.words or ["#"]
        if first == "make":
            assert words[0] in targets, piece.text
        if first in ("python", "pytest"):
            paths = [word.partition("::")[0] for word in words if "/" in word and "=" not in word]
            own = [
                path for path in paths if path.startswith(("benchmarks/", "examples/", "tests/"))
            ]
            assert all(list(ROOT.glob(path.replace("NAME", "*"))) for path in own), piece.text
        if first == "pip" and "[" in piece.text:
            assert re.findall(r"\[(\w+)\]", piece.text)[0] in extras["optional-dependencies"]


def test_nothing_is_listed_that_no_page_has() -> None:
    assert [text for text in NOT_RUN if not any(text in piece.text for piece in ALL)] == []
    assert {piece.text.split()[0] for piece in ALL if piece.kind == "option"} >= OTHERS
    assert set(PAGES) >= SLOW


def test_what_a_reader_can_copy_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "# A page\n\nText, `halftrack\nplan X`, `--once` and `plan`; `halftrack data`.\n\n"
        "    halftrack train X \\\n        --data-root D   # why\n    pip install y\n\nprints\n\n"
        "    loss 0.5 at last\n\n```python\nif x:\n    y()\n```\n\n    z = 1\n"
    )
    monkeypatch.setattr("page_blocks.ROOT", tmp_path)
    found = list(pieces("page.md"))
    assert [(piece.kind, piece.text) for piece in found] == [
        ("inline", "halftrack plan X"),
        ("option", "--once"),
        ("inline", "halftrack data"),
        ("command", "halftrack train X --data-root D   # why"),
        ("command", "pip install y"),
        ("text", "loss 0.5 at last"),
        ("python", "if x:\n    y()\n"),
        ("python", "z = 1"),
    ]
    assert [is_mention(found[index].words) for index in (0, 2, 3)] == [False, True, False]


@pytest.mark.parametrize(
    "line",
    [
        "halftrack fly",
        "halftrack train reid_tiny_sample --data-root D --nope 1",
        "halftrack train reid_tiny_samples --data-root D",
        "halftrack train reid_tiny_sample --data-root D --set training.nope=1",
        "halftrack train reid_tiny_sample --data-root D --set training.epochs=x",
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_command_that_cannot_be_is_found(line: str, whole: bool) -> None:
    with pytest.raises(Exception, match=r"fly|nope|reid_tiny_samples|epochs"):
        check_command(line.split(), whole=whole)


@pytest.mark.parametrize(
    "line",
    [
        "halftrack parity reid_tiny_sample --data-root D --seeds many",
        "halftrack train --data-root D",
    ],
)
def test_a_mention_need_not_be_whole(line: str) -> None:
    with pytest.raises(Exception, match=r"many|recipe"):
        check_command(line.split(), whole=True)
    check_command(line.split(), whole=False)
