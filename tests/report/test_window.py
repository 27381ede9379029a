"""The window of a film, with a Tk that draws nothing: no test needs a display."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from halftrack.report.window import Window


class Tk:
    """A screen of 640 x 480 pixels; ``pending`` is what its user does at the next update."""

    pending: str | None = None

    def __init__(self) -> None:
        self.hears: dict[str, Callable[..., None]] = {}
        self.seen, self.destroyed = "withdrawn", 0

    def withdraw(self) -> None:
        self.seen = "withdrawn"

    def deiconify(self) -> None:
        self.seen = "normal"

    def state(self) -> str:
        return self.seen

    def title(self, _: str) -> None:
        pass

    def protocol(self, name: str, do: Callable[[], None]) -> None:
        self.hears[name] = lambda _: do()

    def bind(self, keys: str, do: Callable[[object], None]) -> None:
        self.hears[keys] = do

    def winfo_screenwidth(self) -> int:
        return 640

    def winfo_screenheight(self) -> int:
        return 480

    def update(self) -> None:
        assert not self.destroyed
        if self.pending is not None:
            self.hears[self.pending](object())

    def destroy(self) -> None:
        self.destroyed += 1


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was drawn, as PPM files."""
    drawn: list[bytes] = []

    def image(*, master: Tk, data: bytes, format: str) -> bytes:
        assert format == "ppm"
        drawn.append(data)
        return data

    label = SimpleNamespace(pack=lambda: None, configure=lambda **_: None)
    tkinter: Any = SimpleNamespace(
        Tk=Tk, TclError=OSError, PhotoImage=image, Label=lambda *_, **__: label
    )
    monkeypatch.setitem(sys.modules, "tkinter", tkinter)
    return drawn


def test_a_picture_is_shown_pixel_by_pixel(drawn: list[bytes]) -> None:
    picture = Image.new("RGB", (3, 2), (1, 2, 3))
    Window("film").show(picture)
    assert drawn == [b"P6 3 2 255\n" + bytes([1, 2, 3]) * 6]


@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((560, 400), Fraction(1), b"560 400"),
        ((1120, 100), Fraction(1), b"560 50"),
        ((100, 1200), Fraction(1), b"33 400"),
        ((60, 40), Fraction(4, 3), b"80 40"),
        ((600, 40), Fraction(1, 2), b"300 40"),
    ],
)
def test_a_picture_fits_the_screen_and_has_the_shape_that_players_show(
    size: tuple[int, int], aspect: Fraction, shown: bytes, drawn: list[bytes]
) -> None:
    picture = Image.new("RGB", size)
    Window("film").show(picture, aspect)
    assert drawn[0].startswith(b"P6 " + shown + b" 255\n")
    assert picture.size == size


@pytest.mark.parametrize("how", ["q", "<Escape>", "WM_DELETE_WINDOW"])
def test_a_key_or_the_window_itself_closes_it(
    how: str, drawn: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("film")
    window.show(Image.new("RGB", (3, 2)))
    assert not window.closed
    monkeypatch.setattr(Tk, "pending", how)
    window.show(Image.new("RGB", (3, 2)))
    assert window.closed
    window.show(Image.new("RGB", (3, 2)))
    window.close()
    assert len(drawn) == 2


def test_without_tkinter_or_a_display_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_display() -> Tk:
        raise OSError("couldn't connect to display ':5'")

    broken = SimpleNamespace(Tk=no_display, TclError=OSError)
    for module, message in (
        (None, r"--show needs tkinter, which this Python lacks .*: leave --show out: the film"),
        (broken, r"--show needs a display \(DISPLAY names it\): couldn't connect to display ':5';"),
    ):
        monkeypatch.setitem(sys.modules, "tkinter", module)
        with pytest.raises(ValueError, match=message):
            Window("film")
