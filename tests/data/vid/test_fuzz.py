"""Whatever the annotation files hold, readers answer or raise an error of ours, soon."""

from __future__ import annotations

import pytest
from annotation_readers import READERS
from fuzzing import Reader, run

INPUTS = {"VID XML": 1200, "CocoVID tree": 1200, "COCO tree": 600, "cached index": 300}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_error_but_ours(reader: Reader) -> None:
    figures = run(reader, INPUTS.get(reader.name, 400))
    # Mutations that all pass, or all fail, would look at nothing.
    assert figures.inputs > 100
