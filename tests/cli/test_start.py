"""The command line starts without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "av", "PIL", "matplotlib", "pydantic")


@pytest.mark.parametrize(
    "arguments", [None, ["--help"], ["recipes"], ["data", "--help"], ["train", "--help"]]
)
def test_help_and_the_list_of_recipes_import_nothing_heavy(arguments: list[str] | None) -> None:
    code = (
        "import sys, halftrack.cli\n"
        f"sys.argv = ['halftrack', *{arguments!r}]\n"
        "try:\n    halftrack.cli.main()\nexcept SystemExit:\n    pass\n"
    )
    if arguments is None:
        code = "import sys, halftrack, halftrack.cli, halftrack.recipes.names\n"
    heavy = [name for name in HEAVY if name != "pydantic" or arguments in (None, ["recipes"])]
    code += f"found = [name for name in {heavy!r} if name in sys.modules]\nassert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_python_m_halftrack_is_the_command_line() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "halftrack", "recipes"], check=True, capture_output=True, text=True
    )
    assert answer.stdout.startswith("selsa_faster_rcnn_r50_dc5_1x_imagenetvid  fp32\n")


@pytest.mark.parametrize("group", [[], ["data"]])
def test_the_list_of_commands_is_not_cut_off_at_80_columns(group: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "halftrack", *group, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    commands = answer.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert commands.count("\n") >= 1
    assert "..." not in commands
