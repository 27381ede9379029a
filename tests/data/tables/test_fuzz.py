"""Whatever tables, lists and seqinfo.ini hold, readers answer or raise an error of ours, soon."""

from __future__ import annotations

import pytest
from fuzzing import Reader, run
from table_readers import READERS


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_error_but_ours(reader: Reader) -> None:
    figures = run(reader, 170)
    # Mutations that all pass, or all fail, would look at nothing.
    assert 0 < figures.refused < figures.inputs
