"""seqinfo.ini in whatever state people have it: read, or refused in one line with its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.data.tables.seqinfo import SeqInfo, read_seqinfo

GOOD = (
    "[Sequence]\nname=street\nimDir=img1\nframeRate=25\nseqLength=10\nimWidth=160\nimHeight=120\n"
    "imExt=.jpg\n"
)
READ = SeqInfo(
    num_frames=10, frame_rate=25, size=(120, 160), image_folder="img1", image_ending=".jpg"
)

SAME = {
    "as downloaded": GOOD.encode(),
    "with a byte order mark": GOOD.encode("utf-8-sig"),
    "from the Windows editor, UTF-16": GOOD.encode("utf-16"),
    "big endian": b"\xfe\xff" + GOOD.encode("utf-16-be"),
    "a name in Latin 1": GOOD.replace("street", "caf\u00e9").encode("latin-1"),
    "a name in Chinese": GOOD.replace("street", "\u8857\u9053").encode(),
    "a name of percent signs": GOOD.replace("street", "%(x)s%").encode(),
    "a name that leads elsewhere": GOOD.replace("street", "../../x").encode(),
    "an absolute name": GOOD.replace("street", "/etc/x").encode(),
    "Windows line ends": GOOD.replace("\n", "\r\n").encode(),
    "spaces around": GOOD.replace("=", " = ").encode(),
    "a lower case section": GOOD.replace("[Sequence]", "[sequence]").encode(),
    "an ending without a dot": GOOD.replace(".jpg", "jpg").encode(),
    "a length with a fraction of 0": GOOD.replace("=10", "=10.0").encode(),
    "keys in capitals": GOOD.replace("seqLength", "SEQLENGTH").encode(),
}


@pytest.mark.parametrize("story", SAME)
def test_every_spelling_is_read_alike(story: str, tmp_path: Path) -> None:
    file = tmp_path / "seqinfo.ini"
    file.write_bytes(SAME[story])
    assert read_seqinfo(file) == READ


REFUSED = {
    "nothing in it": ("", "expected a section [Sequence], found none"),
    "no section": ("seqLength=3\n", "cannot be read as a [Sequence]: File contains no section"),
    "another section": ("[Video]\nseqLength=3\n", "expected a section [Sequence], found 'Video'"),
    "a key twice": (GOOD + "imExt=.png\n", "option 'imext' in section 'Sequence' already exists"),
    "zero bytes": ("\0" * 40, "cannot be read as a [Sequence]"),
    "a page": ("<!DOCTYPE html><html></html>", "seqinfo.ini is a web page"),
    "an LFS pointer": ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    "a huge length": (GOOD.replace("=10\n", "=1e12\n"), "seqLength='1e12': expected a whole"),
    "a long length": (GOOD.replace("=10\n", "=1000000000000\n"), "of frames, 1 to 1000000"),
    "length 0": (GOOD.replace("=10\n", "=0\n"), "seqLength='0': expected a whole number"),
    "a negative length": (GOOD.replace("=10\n", "=-10\n"), "seqLength='-10': expected"),
    "half a frame": (GOOD.replace("=10\n", "=10.5\n"), "seqLength='10.5': expected"),
    "a length that is NaN": (GOOD.replace("=10\n", "=nan\n"), "seqLength='nan': expected"),
    "an underscore": (GOOD.replace("=10\n", "=1_0\n"), "seqLength='1_0': expected"),
    "Arabic digits": (GOOD.replace("=10\n", "=\u0661\u0660\n"), "expected a whole number"),
    "no length": (GOOD.replace("=10\n", "=\n"), "seqLength='': expected a whole number"),
    "a comment behind": (GOOD.replace("=10\n", "=10 ; frames\n"), "seqLength='10 ; frames'"),
    "a width of NaN": (GOOD.replace("=160", "=nan"), "imWidth='nan': expected a whole number"),
    "an infinite height": (GOOD.replace("=120", "=inf"), "imHeight='inf': expected a whole"),
    "a width beyond images": (GOOD.replace("=160", "=1000000"), "of pixels, 1 to 65535"),
    "a rate that is NaN": (GOOD.replace("=25", "=nan"), "frameRate='nan': expected frames a sec"),
    "an infinite rate": (GOOD.replace("=25", "=inf"), "frameRate='inf': expected frames a second"),
    "a rate of 1e30": (GOOD.replace("=25", "=1" + "0" * 30), "expected frames a second, 0.001"),
    "a fraction for a rate": (GOOD.replace("=25", "=30000/1001"), "frameRate='30000/1001'"),
    "images elsewhere": (GOOD.replace("img1", "../img1"), "imDir='../img1': allowed is the name"),
    "images on Windows": (GOOD.replace("img1", "C:\\img1"), "allowed is the name of a folder"),
    "an absolute folder": (GOOD.replace("img1", "/img1"), "imDir='/img1': allowed is the name"),
    "a zero in the folder": (GOOD.replace("img1", "i\0g"), "allowed is the name of a folder"),
    "an ending that leads elsewhere": (GOOD.replace(".jpg", "/../a.jpg"), "expected an ending"),
    "a very long value": (GOOD.replace("=10\n", f"={'9' * 5000}\n"), "expected a whole number"),
}


@pytest.mark.parametrize("story", REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(story: str, tmp_path: Path) -> None:
    text, reason = REFUSED[story]
    file = tmp_path / "seqinfo.ini"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(reason)) as caught:
        read_seqinfo(file)
    told = str(caught.value)
    assert told.startswith(f"{file}: ")
    assert "\n" not in told
    assert len(told) < 500


def test_what_is_not_said_is_none(tmp_path: Path) -> None:
    file = tmp_path / "seqinfo.ini"
    file.write_text("[Sequence]\nname=a\nimWidth=160\n")
    assert read_seqinfo(file) == SeqInfo(
        num_frames=None, frame_rate=None, size=None, image_folder="img1", image_ending=".jpg"
    )
    with pytest.raises(DataError, match=r"seqinfo\.ini is missing"):
        read_seqinfo(tmp_path / "other" / "seqinfo.ini")
