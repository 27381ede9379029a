"""Contents of published checkpoints beside tensors, and how they are read without unpickling them.

``torch.load(weights_only=True)`` refuses numpy's scalars, time stamps and the dicts of config
files. Each gets a replacement here that makes a plain value; nothing else is let in.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from halftrack.pickles import ADMITTED, DictStub

__all__ = ["admitted"]


_DICTS = (
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "addict.addict.Dict",
    "argparse.Namespace",
)
_TIMES = (datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone)
# torch has bytes as its own.
_ARRAYS = {name: stub for name, stub in ADMITTED.items() if name != "_codecs.encode"}
_GLOBALS: list[Any] = [
    *((stub, name) for name, stub in _ARRAYS.items()),
    *((DictStub, name) for name in _DICTS),
    *((time, f"datetime.{time.__name__}") for time in _TIMES),
]


@contextmanager
def admitted() -> Iterator[None]:
    """Lets ``torch.load(weights_only=True)`` read what published checkpoints hold.

    ``halftrack.pickles.as_plain`` then puts plain values into the place of the replacements.
    """
    with torch.serialization.safe_globals(_GLOBALS):
        yield
