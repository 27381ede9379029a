"""Fuzzing of readers: mutated inputs as hypothesis strategies, and what each reader must hold.

A reader answers or raises an error of ours, in seconds and without much memory. The tests take a
few thousand inputs; ``run`` takes any number and tells the figures, for a benchmark.
"""

from __future__ import annotations

import copy
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from halftrack.errors import UserError

MOST_SECONDS = 2.0
MOST_BYTES = 1 << 30

ODD_TEXT = (
    "", " ", "0", "-1", "1e999", "nan", "inf", "-inf", "1_0", "0x10", "1e-320", "9" * 30,
    "9" * 5000, "\0", "\ufeff", "\u0665", "../..", "/etc/passwd", "x" * 3000, "\ud800",
    "None", "true", "1,2",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**400, -(2**63), 2**63, 0.5, 1e308, float("nan"),
    float("inf"), [], {}, [[]], {"id": 1}, [1, 2, 3, 4], *ODD_TEXT,
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A reader under test."""

    name: str
    inputs: st.SearchStrategy[Any]
    """What it is given, mutated."""
    read: Callable[[Any, Path], object]
    """Put an input into a folder, which all inputs of a run share, read it, and assert what must
    hold of the answer."""
    slow: int = 1
    """It gets this many times fewer inputs than others."""


@dataclass
class Figures:
    """What many inputs did to a reader."""

    inputs: int = 0
    refused: int = 0
    """Inputs that an error of ours refused."""
    slowest: float = 0.0
    """Seconds of computing of the slowest input: on a busy machine the clock tells more."""
    grown: int = 0
    """Bytes by which the process's largest size grew."""


def attempt(reader: Reader, value: Any, folder: Path, figures: Figures) -> None:
    """Give one input to a reader.

    Raises:
        AssertionError: if it took too long or too much memory; any error of the reader that is
            none of ours passes through.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = ""
    begin = time.process_time()
    try:
        reader.read(value, folder)
    except UserError as error:
        figures.refused += 1
        told = str(error)
    seconds = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    figures.inputs += 1
    figures.slowest = max(figures.slowest, seconds)
    figures.grown = max(figures.grown, grown)
    assert len(told) < 3000, f"{reader.name}: an error of {len(told)} letters"
    assert "\n" not in told, f"{reader.name}: an error of several lines"
    assert seconds < MOST_SECONDS, f"{reader.name} took {seconds:.1f} s"
    assert grown < MOST_BYTES, f"{reader.name} took {grown >> 20} MiB"


def run(reader: Reader, inputs: int, *, seed: int | None = None) -> Figures:
    """Give so many inputs to a reader; an input that breaks it is shrunk and shown."""
    figures = Figures()
    folder = tempfile.TemporaryDirectory()

    @settings(
        max_examples=max(inputs // reader.slow, 1),
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs)
    def every(value: Any) -> None:
        attempt(reader, value, Path(folder.name), figures)

    if seed is not None:
        every = hypothesis.seed(seed)(every)
    with folder:
        every()
    return figures


def mutated_bytes(
    starts: Sequence[bytes], tokens: Sequence[bytes] = (), *, edits: int = 4
) -> st.SearchStrategy[bytes]:
    """A file with bytes changed, cut out, repeated, or replaced by tokens of its format.

    Args:
        starts: good files.
        tokens: pieces that mean something in the format.
        edits: most changes of one file.
    """
    edit = st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["flip", "cut", "repeat", "token", "end"]),
        st.integers(0, 255),
        st.sampled_from([*tokens, b"\0", b"\xff", b"9" * 40]),
    )
    return st.builds(_edited, st.sampled_from(starts), st.lists(edit, max_size=edits))


def _edited(start: bytes, edits: Sequence[tuple[float, str, int, bytes]]) -> bytes:
    content = bytearray(start)
    for share, kind, number, token in edits:
        place = int(share * len(content))
        if kind == "flip" and content:
            content[place] ^= number or 1
        elif kind == "cut":
            del content[place : place + number]
        elif kind == "repeat":
            content[place:place] = content[place : place + number]
        elif kind == "token":
            content[place : place + number % 9] = token
        elif kind == "end":
            del content[place:]
    return bytes(content)


def mutated_tree(start: Any, *, edits: int = 3) -> st.SearchStrategy[Any]:
    """A JSON tree of which some values are replaced, removed or doubled."""
    edit = st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["replace", "remove", "double", "text"]),
        st.sampled_from(ODD_VALUES),
    )
    return st.builds(lambda edits: edited_tree(start, edits), st.lists(edit, max_size=edits))


def edited_tree(start: Any, edits: Sequence[tuple[float, str, Any]]) -> Any:
    tree = [copy.deepcopy(start)]
    for share, kind, value in edits:
        places = list(_places(tree))
        holder, key = places[int(share * len(places))]
        if kind == "replace" or holder is tree:
            holder[key] = copy.deepcopy(value)
        elif kind == "text":
            holder[key] = str(holder[key])
        elif kind == "double" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            del holder[key]
    return tree[0]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def mutated_lines(start: Sequence[str], *, edits: int = 3) -> st.SearchStrategy[bytes]:
    """A list of which lines are repeated, removed or exchanged, and words replaced by odd ones."""
    edit = st.tuples(
        st.integers(0, 1000),
        st.sampled_from(["word", "word", "repeat", "remove", "exchange", "blank"]),
        st.integers(0, 5),
        st.sampled_from(ODD_TEXT),
    )
    return st.builds(lambda edits: _edited_lines(start, edits), st.lists(edit, max_size=edits))


def _edited_lines(start: Sequence[str], edits: Sequence[tuple[int, str, int, str]]) -> bytes:
    lines = list(start)
    for place, kind, word, odd in edits:
        if not lines:
            break
        number = place % len(lines)
        if kind == "word":
            words = lines[number].split(" ")
            words[word % len(words)] = odd
            lines[number] = " ".join(words)
        elif kind == "repeat":
            lines.insert(number, lines[number])
        elif kind == "remove":
            del lines[number]
        elif kind == "exchange":
            lines[0], lines[number] = lines[number], lines[0]
        else:
            lines.insert(number, odd)
    return "\n".join(lines).encode("utf-8", "surrogatepass")
