"""``halftrack doctor`` and ``--version`` say what a bug report needs."""

from __future__ import annotations

from importlib import metadata

import pytest

import halftrack as package


def test_doctor_names_versions_processor_memory_and_disk(
    halftrack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert halftrack("doctor") == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["halftrack"] == package.__version__
    assert told["torch"] == metadata.version("torch")
    assert "cores" in told["processor"]
    assert {"Python", "GPU", "memory", "here", "indexes"} <= told.keys()


def test_a_package_that_is_missing_is_named(
    halftrack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halftrack.cli.doctor._PACKAGES", ("no-such-package",))
    assert halftrack("doctor") == 0
    assert "no-such-package not installed" in capsys.readouterr().out


def test_version(halftrack, capsys: pytest.CaptureFixture[str]) -> None:
    assert halftrack("--version") == 0
    assert capsys.readouterr().out == f"halftrack {package.__version__}\n"
