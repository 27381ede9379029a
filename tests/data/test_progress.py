"""Progress is printed now and then, not for every video."""

from __future__ import annotations

import pytest

from halftrack.data.progress import PrintedProgress


def test_a_line_is_printed_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    seldom, always = PrintedProgress("stills"), PrintedProgress("annotations", every=-1.0)
    for progress in (seldom, always):
        progress(1, 9)
    assert capsys.readouterr().out == "reading annotations: 1 of 9 videos\n"
