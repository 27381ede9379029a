"""Whatever the annotation files hold, readers answer or raise an error of ours, soon."""

from __future__ import annotations

import pytest
from annotation_readers import READERS
from fuzzing import Reader, run

INPUTS = {"VID XML": 400, "CocoVID tree": 400}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_error_but_ours(reader: Reader) -> None:
    figures = run(reader, INPUTS.get(reader.name, 150))
    # Mutations that all pass, or all fail, would look at nothing.
    assert figures.inputs > 100
