"""Whatever other libraries' files hold, readers answer or refuse them, soon."""

from __future__ import annotations

import pytest
from file_readers import READERS
from fuzzing import Reader, run


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_error_but_ours(reader: Reader) -> None:
    figures = run(reader, 100)
    assert 0 < figures.refused < figures.inputs
