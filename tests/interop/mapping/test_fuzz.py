"""Whatever a config says, it becomes a recipe or is refused, soon and without being executed."""

from __future__ import annotations

import pytest
from config_readers import READERS
from fuzzing import Reader, run


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_error_but_ours(reader: Reader) -> None:
    figures = run(reader, 200)
    # Mutations that all pass, or all fail, would look at nothing.
    assert 0 < figures.refused < figures.inputs
