"""The command line starts without torch."""

from __future__ import annotations

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
