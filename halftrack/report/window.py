"""A window that shows a film while it is made, by Tk, which comes with most Pythons."""

from __future__ import annotations

from fractions import Fraction

from PIL import Image, ImageOps

from halftrack.errors import UserError

__all__ = ["Window"]

_INSTEAD = "leave --show out: the film is written to --out all the same"
_FRAME = 80  # pixels of the screen that title and bars take


class Window:
    """A window that shows pictures in turn until q or Escape is pressed, or it is closed.

    It is seen from the first picture on.

    Args:
        title: the text above the pictures.

    Raises:
        UserError: if this Python has no tkinter, or there is no display.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter  # here: not every Python has it
        except ImportError:
            raise UserError(
                f"--show needs tkinter, which this Python lacks (python3-tk of Debian): {_INSTEAD}"
            ) from None
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise UserError(
                f"--show needs a display (DISPLAY names it): {error}; {_INSTEAD}"
            ) from None
        self.closed = False
        """True once its user has closed it."""
        self._tkinter = tkinter
        self._root.withdraw()
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for keys in ("q", "<Escape>"):
            self._root.bind(keys, lambda _: self.close())
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        width, height = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
        self._room = width - _FRAME, height - _FRAME

    def show(self, picture: Image.Image, pixel_aspect: Fraction = Fraction(1)) -> None:
        """Show the next picture, smaller where the screen is; nothing if the window is closed.

        Args:
            picture: of mode RGB; it is left as it is.
            pixel_aspect: width of a pixel over its height.
        """
        if self.closed:
            return
        size = round(picture.width * pixel_aspect), picture.height
        if size != picture.size:
            picture = picture.resize(size)
        if size[0] > self._room[0] or size[1] > self._room[1]:
            picture = ImageOps.contain(picture, self._room, Image.Resampling.BILINEAR)
        content = b"P6 %d %d 255\n" % picture.size + picture.tobytes()
        # Kept: a label shows nothing of an image that Python has dropped.
        self._shown = self._tkinter.PhotoImage(master=self._root, data=content, format="ppm")
        self._label.configure(image=self._shown)
        if self._root.state() == "withdrawn":
            self._root.deiconify()
        self._root.update()  # draws, and hears keys; they may close it

    def close(self) -> None:
        """Close the window."""
        if not self.closed:
            self.closed = True
            self._root.destroy()
