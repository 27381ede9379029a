"""Pickles of numpy arrays, read without running what they hold.

Every class that such a pickle may name is replaced by one of these, which makes plain values and
checked arrays. Nothing else is ever looked up, so no code of a file's choice runs.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from halftrack.errors import MissingFileError, UserError

__all__ = ["ADMITTED", "DictStub", "as_plain", "read_arrays"]

# Numbers, truth values and text: an array of objects could hold anything.
_DTYPE = re.compile(r"\|?[?bhilqBHILQefdFD]|[<>|]?[biufc][1248]|[<>|]?c16|[<>|]?[SU][0-9]{1,4}")
_ENCODINGS = ("latin1", "latin-1")
_ADVICE = "take only files whose arrays are of numbers"


def read_arrays(path: Path) -> Any:
    """Read a pickle of numpy arrays, numbers, text, and lists, tuples and dicts of these.

    MMTracking's ``*_detections.pkl`` and detectron2's backbones are such files.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds anything else; nothing of it has run.
    """
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}{', it is a folder' * path.is_dir()}")
    try:
        return as_plain(_Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load())
    except _RefusedError as error:
        raise UserError(f"{path} cannot be read safely: {error}; {_ADVICE}") from None
    except Exception as error:  # damage shows as errors of every kind
        reason = (str(error).partition("\n")[0] or type(error).__name__)[:200]
        raise UserError(f"{path} is damaged or no pickle: {reason}") from error


class _RefusedError(pickle.UnpicklingError):
    """A pickle names what is not admitted."""


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler: that in C sets memory aside for as many values as a file claims."""

    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def load_bytearray8(self) -> None:
        """Read a bytearray; Python's method would first make one of the size that is claimed."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of a class or function.

        Raises:
            UnpicklingError: for all but those of ``ADMITTED``.
        """
        found = ADMITTED.get(f"{module}.{name}")
        if found is None:
            raise _RefusedError(f"it holds {module}.{name}"[:200])
        return found


class _Admitted:
    """A class that a pickle may name; what is not overridden is refused."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"{type(self).__name__} takes no state")


class DictStub(_Admitted):
    """A dict in the place of an object whose module need not be installed, such as a config."""

    def __new__(cls, *_: Any) -> Any:
        """A dict that takes items, and attributes too: ``as_plain`` makes one dict of both."""
        return OrderedDict()


class _DType(_Admitted):
    """A dtype of plain values: ``numpy.dtype``."""

    def __init__(self, code: str, *_: Any) -> None:
        if not (isinstance(code, str) and _DTYPE.fullmatch(code)):
            raise _RefusedError(f"it holds an array of dtype {str(code)[:40]!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Scalar(_Admitted):
    """A numpy scalar, which becomes a Python number."""

    def __new__(cls, dtype: _DType, raw: Any = b"") -> Any:
        """The number."""
        return np.frombuffer(_bytes(raw), dtype=dtype.dtype, count=1)[0].item()


class _Array(_Admitted):
    """An array: pickles make an empty one and then give it shape and values."""

    value: np.ndarray[Any, Any]

    def __init__(self, *_: Any) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, raw = state
        self.value = _shaped(raw, dtype, shape, "F" if column_major else "C")


class _NoBytes(_Admitted):
    """Bytes without any, which protocol 2 writes as a call."""

    def __new__(cls) -> Any:
        """No bytes."""
        return b""


class _FromBuffer(_Admitted):
    """An array of a pickle of protocol 5."""

    def __new__(cls, raw: Any, dtype: _DType, shape: Any, order: str) -> Any:
        """The array, to be replaced by its value."""
        array = _Array()
        array.value = _shaped(raw, dtype, shape, order)
        return array


class _Encoded(_Admitted):
    """Bytes, which pickles of Python 2's protocol write as text."""

    def __new__(cls, text: str, encoding: str) -> Any:
        """The bytes."""
        if encoding not in _ENCODINGS:
            raise pickle.UnpicklingError(f"text encoded as {str(encoding)[:40]!r}")
        return text.encode("latin1")


def _shaped(raw: Any, dtype: _DType, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    content = _bytes(raw)
    if math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise pickle.UnpicklingError(f"an array of shape {shape} in {len(content)} bytes"[:120])
    # A copy: of bytes numpy makes an array that cannot be written to.
    return np.frombuffer(content, dtype=dtype.dtype).reshape(shape, order=order).copy()


def _bytes(raw: Any) -> bytes:
    return raw.encode("latin1") if isinstance(raw, str) else bytes(memoryview(raw))


ADMITTED: Mapping[str, type] = {
    "numpy.dtype": _DType,
    "numpy.ndarray": _Array,
    "_codecs.encode": _Encoded,
    "__builtin__.bytes": _NoBytes,
    # numpy 1 and 2, and their pickles of protocol 5.
    **{
        f"numpy.{core}.{name}": found
        for core in ("core", "_core")
        for name, found in (
            ("multiarray._reconstruct", _Array),
            ("multiarray.scalar", _Scalar),
            ("numeric._frombuffer", _FromBuffer),
        )
    },
}
"""Replacements, by the name that a pickle has for what they replace."""


def as_plain(value: Any) -> Any:
    """Put arrays, dtypes and dicts into the place of what the replacements make, at any depth.

    Lists and dicts are changed in place, each once: a small file may name one a million times.
    """
    return _Plain().of(value)


class _Plain:
    """The values that are plain already, by identity."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._kept: list[Any] = []  # else another object could get the identity of one that is gone

    def of(self, value: Any) -> Any:
        """The plain value."""
        if isinstance(value, _Array):
            return value.value
        if isinstance(value, _DType):
            return str(value.dtype)
        if not isinstance(value, dict | list | tuple):
            return value
        name = id(value)
        if name not in self._done:
            self._kept.append(value)
            if type(value) is OrderedDict and not vars(value).keys() <= {"_metadata"}:
                value = {**vars(value), **value}  # of a DictStub
            self._done[name] = value  # first: a list may hold itself
            self._done[name] = self._inside(value)
        return self._done[name]

    def _inside(self, value: Any) -> Any:
        if isinstance(value, tuple):
            items = [self.of(item) for item in value]
            same = all(item is was for item, was in zip(items, value, strict=True))
            return value if same else tuple(items)
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            value[key] = self.of(value[key])
        return value
