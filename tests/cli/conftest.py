"""The command as a user runs it, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from halftrack.cli import main
from halftrack.cli.console import console


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of one command."""
    monkeypatch.setattr(sys, "argv", ["halftrack", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def halftrack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs ``halftrack`` with these arguments on a wide terminal and returns the exit code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(console, "_width", 300)
    return lambda *arguments: _run(monkeypatch, *arguments)
