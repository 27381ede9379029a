"""Whatever a run's files and the command line's values are, readers answer or refuse them, soon."""

from __future__ import annotations

import pytest
from fuzzing import Reader, run
from run_readers import READERS


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_error_but_ours(reader: Reader) -> None:
    figures = run(reader, 200)
    # Mutations that all pass, or all fail, would look at nothing.
    assert 0 < figures.refused < figures.inputs
