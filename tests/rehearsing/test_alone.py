"""The rehearsal of any model needs torch and numpy alone, after ``pip install --no-deps``."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
IMPORTED_AS = {"pillow": "PIL"}
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
REHEARSED = """
import os, tempfile
import torch, halftrack

model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
step = lambda model, x: model(x).square().mean()
report = halftrack.rehearse(step, [torch.ones(4, 3)], model=model, optimizer=optimizer, steps=2)
assert len(report.memory) == 3, report.no_memory
assert report.islands().keep_fp32 == ()
assert "survived" in str(report)
with tempfile.TemporaryDirectory() as folder:
    report.save(os.path.join(folder, "page.html"))
"""


def missing() -> list[str]:
    """Packages that halftrack depends on, but torch and numpy, by the name they are imported as."""
    names = [re.split("[>=<]", each)[0] for each in PROJECT["project"]["dependencies"]]
    return [IMPORTED_AS.get(name, name) for name in names if name not in ("torch", "numpy")]


def run(code: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(missing=missing()) + code
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_a_model_is_rehearsed_with_torch_and_numpy() -> None:
    assert len(missing()) >= 10
    answer = run(REHEARSED)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import halftrack; halftrack.load_recipe('selsa_tiny_sample')", "pydantic"),
        ("import halftrack.cli", "typer"),
    ],
)
def test_what_else_is_missing_is_named_when_it_is_needed(code: str, name: str) -> None:
    answer = run(code)
    assert f"No module named '{name}" in answer.stderr.splitlines()[-1]
