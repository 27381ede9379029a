"""A missing package is told with the command that installs it."""

from __future__ import annotations

import importlib.util

import pytest

from halftrack.errors import UserError
from halftrack.interop.onnx.packages import check_onnx


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "s" in name else object())
    with pytest.raises(UserError, match=r"needs onnxscript: .*pip install halftrack\[onnx\]"):
        check_onnx()


def test_all_installed_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    check_onnx()
