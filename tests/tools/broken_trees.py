"""Trees damaged as people's data are: by downloads, archives, scripts, editors and hands.

``break_tree`` changes a tree once or twice, by chance of a generator, and tells what it did.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable, Sequence
from functools import cache

from fuzzing import ODD_VALUES, edited_tree
from PIL import Image
from small_trees import SIZE, Tree, image

_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
_PAGE = b"<!DOCTYPE html><html>404</html>"
_CELLS = (
    "nan", "inf", "-1", "0", "1", "2", "0.5", "7", "8", "13", "14", "-5", "1e9", "1e999", "x", "",
    " ", "100", "-200", "1_0", "0x1", "999999", "3.0", "\u0665",
)  # fmt: skip
_INI = ("", "0", "-1", "5", "7", "600", "1e12", "nan", "img", "../img1", ".png", "jpg", "48", "64")
_NAMES = (
    "renamed",
    "with space",
    "\u6c7d\u8f66",
    "caf\udce9",
    "A-1",
    ".hidden",
    "x" * 120,
    "__MACOSX",
)
_CLUTTER = (".DS_Store", "Thumbs.db", "._000001.jpg", "notes.txt", "000000.jpg.part", "empty")
Damage = Callable[[random.Random, Tree, list[str]], str]


def break_tree(rng: random.Random, tree: Tree, damaged: str) -> tuple[Tree, str]:
    """A tree with one or two damages below a folder, and what they are."""
    broken, told = dict(tree), []
    for _ in range(rng.choice((1, 1, 2))):
        paths = sorted(path for path in broken if path.startswith(damaged))
        if paths:
            told.append(rng.choice(_DAMAGES)(rng, broken, paths))
    return _possible(broken), "; ".join(told)


def _possible(tree: Tree) -> Tree:
    """The tree without what would lie in a file."""
    files = {path for path, content in tree.items() if content is not None}
    parts = {path: path.split("/") for path in tree}
    inside = {
        path
        for path, names in parts.items()
        if any("/".join(names[:depth]) in files for depth in range(1, len(names)))
    }
    return {path: content for path, content in tree.items() if path not in inside}


def _a_file(rng: random.Random, tree: Tree, paths: list[str]) -> str:
    """Damage that any file may have."""
    path, other = _annotated(rng, tree, paths), rng.choice(paths)
    kind = rng.choice(("gone", "empty", "short", "pointer", "page", "swapped", "bytes", "folder"))
    content = tree[path] or b""
    if kind in ("gone", "folder"):
        del tree[path]
        if kind == "folder":
            tree[f"{path}/inside"] = b""
    elif kind == "swapped":
        tree[path], tree[other] = tree[other], tree[path]
    elif kind == "bytes":
        changed = bytearray(content)
        for _ in range(min(len(changed), 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        tree[path] = bytes(changed)
    else:
        cut = content[: rng.randrange(len(content) + 1)]
        tree[path] = {"empty": b"", "short": cut, "pointer": _POINTER, "page": _PAGE}[kind]
    return f"{kind}: {path}"


def _an_image(rng: random.Random, tree: Tree, paths: list[str]) -> str:
    """Another picture, or the same in another kind."""
    pictures = [path for path in paths if _is_image(path)]
    if not pictures:
        return _a_file(rng, tree, paths)
    path = rng.choice(pictures)
    kind = rng.choice(tuple(_kinds()))
    tree[path] = _kinds()[kind]
    if rng.random() < 0.3:  # A whole video is as likely to be converted as one image of it.
        folder = path.rpartition("/")[0]
        tree.update({p: _kinds()[kind] for p in pictures if p.rpartition("/")[0] == folder})
        return f"image is {kind}: all of {folder}"
    return f"image is {kind}: {path}"


@cache
def _kinds() -> dict[str, bytes]:
    """Files in the place of an image, by what they are."""
    height, width = SIZE
    picture = Image.open(io.BytesIO(image(1)))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.frombytes("I;16", (width, height), bytes(2 * width * height))
    plain = image(2)
    middle = len(plain) // 2
    half = picture.resize((width // 2, height // 2))
    return {
        "of half the size": _saved(half, "JPEG"),
        "larger by a pixel": _saved(picture.resize((width + 1, height)), "JPEG"),
        "exchanged in height and width": _saved(
            picture.transpose(Image.Transpose.ROTATE_90), "JPEG"
        ),
        "of one pixel": _saved(picture.resize((1, 1)), "JPEG"),
        "huge": _saved(Image.new("1", (9000, 9000)), "PNG"),
        "turned by a tag": _saved(picture, "JPEG", exif=turned),
        "grey": _saved(picture.convert("L"), "JPEG"),
        "CMYK": _saved(picture.convert("CMYK"), "JPEG"),
        "a palette": _saved(picture.convert("P"), "PNG"),
        "transparent": _saved(picture.convert("RGBA"), "PNG"),
        "of 16 bits": _saved(deep, "PNG"),
        "progressive": _saved(picture, "JPEG", progressive=True),
        "WebP": _saved(picture, "WEBP"),
        "GIF": _saved(picture, "GIF"),
        "animated": _saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
        "BMP": _saved(picture, "BMP"),
        "TIFF": _saved(picture, "TIFF"),
        "cut in its middle": plain[:middle],
        "zeros from its middle": plain[:middle] + bytes(len(plain) - middle),
        "damaged in its middle": plain[:middle] + b"\xff\xd9\x00\xff" + plain[middle + 4 :],
        "with bytes behind its end": plain + b"more",
        "all zeros": bytes(2000),
    }


def _saved(picture: Image.Image, kind: str, **how: object) -> bytes:
    with io.BytesIO() as stream:
        picture.save(stream, kind, **how)
        return stream.getvalue()


def _a_text(rng: random.Random, tree: Tree, paths: list[str]) -> str:
    """Lines and cells of a list or table that are not as they were."""
    texts = [p for p in paths if p.endswith((".txt", ".ini", ".label", ".json", ".xml"))]
    if not texts:
        return _a_file(rng, tree, paths)
    path = _annotated(rng, tree, texts)
    text = (tree[path] or b"").decode("utf-8", "replace")
    kind = rng.choice((*_ENCODINGS, *_LINES))
    if kind in _ENCODINGS:
        tree[path] = _ENCODINGS[kind](text)
        return f"{kind}: {path}"
    lines = text.splitlines()
    if lines:
        _LINES[kind](rng, lines)
    tree[path] = "\n".join([*lines, ""]).encode("utf-8", "replace")
    return f"{kind}: {path}"


_ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "with a byte order mark": lambda text: text.encode("utf-8-sig"),
    "Latin 1": lambda text: f"\xe9\n{text}".encode("latin-1", "replace"),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "old Mac line ends": lambda text: text.replace("\n", "\r").encode(),
    "without the last line end": lambda text: text.rstrip("\n").encode(),
    "blank lines at the end": lambda text: f"{text}\n\n".encode(),
}


def _cell(rng: random.Random, lines: list[str]) -> None:
    number = rng.randrange(len(lines))
    parts = re.split(r"([,\s=/])", lines[number])
    place = 2 * rng.randrange((len(parts) + 1) // 2)
    odd = _INI if "=" in lines[number] else _CELLS
    parts[place] = rng.choice(odd)
    lines[number] = "".join(parts)


def _columns(rng: random.Random, lines: list[str]) -> None:
    """Something done to a column of every line."""
    place, kind = rng.randrange(10), rng.randrange(7)
    odd, other = rng.choice(_CELLS), rng.choice((";", " ", "\t", ", ", ","))
    for number, line in enumerate(lines):
        cells = line.split(",")
        here = place % len(cells)
        if kind == 0:
            cells[here] = odd
        elif kind == 1 and len(cells) > 1:
            del cells[here]
        elif kind == 2:
            cells.append(odd)
        elif kind == 3:
            cells = [*cells[:here], *_shifted(cells[here], 1), *cells[here + 1 :]]
        elif kind == 4:
            cells = [*cells[:here], *_shifted(cells[here], -1), *cells[here + 1 :]]
        elif kind == 5:
            cells = cells[::-1]
        lines[number] = other.join(cells) if kind == 6 else ",".join(cells)


def _shifted(cell: str, by: int) -> list[str]:
    return [str(int(cell) + by)] if cell.isascii() and cell.isdecimal() else [cell]


def _corners(rng: random.Random, lines: list[str]) -> None:
    """Boxes as x1, y1, x2, y2, behind as many columns as there are."""
    for number, line in enumerate(lines):
        cells = line.split(",")
        first = 2 if len(cells) > 6 else 0
        if len(cells) >= first + 4 and all(c.isdecimal() for c in cells[first : first + 4]):
            x, y, width, height = map(int, cells[first : first + 4])
            cells[first + 2 : first + 4] = [str(x + width), str(y + height)]
            lines[number] = ",".join(cells)


def _scaled(rng: random.Random, lines: list[str]) -> None:
    """Every number beyond the first two columns times the same factor."""
    factor = rng.choice((0.0, 0.01, 0.5, 10.0, -1.0, 1e7))
    for number, line in enumerate(lines):
        cells = line.split(",")
        first = 2 if len(cells) > 6 else 0
        for place in range(first, min(first + 4, len(cells))):
            if cells[place].isdecimal():
                cells[place] = f"{int(cells[place]) * factor:g}"
        lines[number] = ",".join(cells)


def _moved(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))


def _line(content: Callable[[list[str]], str]) -> Callable[[random.Random, list[str]], None]:
    return lambda rng, lines: lines.insert(rng.randrange(len(lines) + 1), content(lines))


_LINES: dict[str, Callable[[random.Random, list[str]], None]] = {
    "a cell changed": _cell,
    "another cell changed": _cell,
    "a cell of these changed": _cell,
    "a column changed": _columns,
    "another column changed": _columns,
    "corners": _corners,
    "numbers scaled": _scaled,
    "a line moved": _moved,
    "a line doubled": lambda rng, lines: lines.append(rng.choice(lines)),
    "a line gone": lambda rng, lines: lines.pop(rng.randrange(len(lines))) and None,
    "lines gone": lambda rng, lines: lines.__delitem__(slice(rng.randrange(len(lines)), None)),
    "a blank line": _line(lambda _: ""),
    "a comment": _line(lambda _: "# by hand"),
    "a header": lambda _, lines: lines.insert(0, "frame,id,x,y,w,h"),
    "a name of nothing": _line(lambda lines: f"{lines[0]}x"),
    "the file twice": lambda _, lines: lines.extend(list(lines)),
}


def _a_structure(rng: random.Random, tree: Tree, paths: list[str]) -> str:
    """An XML element or a value of JSON that is not as it was."""
    files = [path for path in paths if path.endswith((".xml", ".json"))]
    if not files:
        return _a_text(rng, tree, paths)
    path = rng.choice(files)
    text = (tree[path] or b"").decode("utf-8", "replace")
    if path.endswith(".json"):
        kind = rng.choice(("replace", "remove", "double", "text"))
        try:
            good = json.loads(text)
        except ValueError:
            return _a_file(rng, tree, paths)
        edits = [(rng.random(), kind, rng.choice(ODD_VALUES)) for _ in range(rng.choice((1, 1, 3)))]
        tree[path] = json.dumps(edited_tree(good, edits)).encode()
        return f"{kind} {edits[0][2]!r:.30}: {path}"
    elements = re.findall(r"<(\w+)>[^<]*</\1>", text)
    name = rng.choice(elements) if elements else "size"
    whole = rng.choice((rf"<{name}>[^<]*</{name}>", r"<object>.*?</object>", r"<size>.*?</size>"))
    found = re.search(whole, text)
    put = rng.choice(
        ("", f"<{name}>{rng.choice(_CELLS)}</{name}>", 2 * (found[0] if found else ""))
    )
    start, end = found.span() if found else (0, 0)
    tree[path] = (text[:start] + put + text[end:]).encode("utf-8", "replace")
    return f"{whole} is {put!r:.40}: {path}"


def _a_folder(rng: random.Random, tree: Tree, paths: list[str]) -> str:
    """A folder, or a name, that is not where or what it was."""
    parts = rng.choice(paths).split("/")
    depth = rng.randrange(1, len(parts)) if len(parts) > 1 else 1
    folder = "/".join(parts[:depth])
    inside = [path for path in paths if path.startswith(f"{folder}/") or path == folder]
    kind = rng.choice(("renamed", "gone", "doubled", "clutter", "empty", "more", "ending", "shift"))
    name = f"{folder.rpartition('/')[0]}/{rng.choice(_NAMES)}".lstrip("/")
    if kind in ("renamed", "doubled"):
        tree.update({name + path[len(folder) :]: tree[path] for path in inside})
    if kind in ("renamed", "gone"):
        for path in inside:
            del tree[path]
    elif kind == "clutter":
        tree[f"{folder}/{rng.choice(_CLUTTER)}"] = rng.choice((b"", b"x", image(3)))
    elif kind == "empty":
        tree[f"{folder}/{rng.choice(_NAMES)}/nothing"] = None
    else:
        _other_numbers(tree, [path for path in inside if _is_image(path)], kind)
    return f"{kind}: {folder} {name if kind in ('renamed', 'doubled') else ''}"


def _other_numbers(tree: Tree, pictures: Sequence[str], kind: str) -> None:
    """Images of a folder that are one more, counted from another number, or end otherwise."""
    if kind == "more" and pictures:
        last = max(pictures)
        tree[_counted(last, 1)] = image(5)
        return
    contents = {path: tree.pop(path) for path in pictures}
    for path, content in contents.items():
        stem, _, ending = path.rpartition(".")
        tree[f"{stem}.{ending.swapcase()}" if kind == "ending" else _counted(path, 1)] = content


def _counted(path: str, more: int) -> str:
    """The name of an image whose number is so much greater."""
    found = re.search(r"(\d+)(\.\w+)$", path)
    if found is None:
        return f"{path}.more"
    return f"{path[: found.start()]}{int(found[1]) + more:0{len(found[1])}d}{found[2]}"


def _annotated(rng: random.Random, tree: Tree, paths: list[str]) -> str:
    """A file, more often than by its share one that is not an image."""
    others = [path for path in paths if not _is_image(path)]
    return rng.choice(others if others and rng.random() < 0.6 else paths)


def _is_image(path: str) -> bool:
    return path.lower().endswith((".jpg", ".jpeg"))


_DAMAGES: tuple[Damage, ...] = (
    _a_file, _a_file, _an_image, _a_text, _a_text, _a_text, _a_structure, _a_folder, _a_folder,
)  # fmt: skip
