"""An XML annotation's bytes to its tree, in any encoding that XML allows, named or not.

expat reads UTF-8, UTF-16 and encodings of one byte a character; Python decodes the others.
"""

from __future__ import annotations

import codecs
import re
from xml.etree import ElementTree

from halftrack.data.files import read_content, shortened
from halftrack.data.problems import DataError

__all__ = ["read_tree"]

# The annotation of one image; thousands of objects take a megabyte.
_LONGEST_XML = 16 << 20
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_NAMED = re.compile(
    rb"""\A<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']"""
)
# Longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
)
_WIDE = ("utf-16", "utf-32", "ucs-", "iso-10646")
# Programs name the older encoding and write the newer one, which has all its characters.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949"}
# Python calls these text encodings; no XML file has them, and some take quadratic time.
_NO_XML = ("idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf-7")


def read_tree(source: str) -> ElementTree.Element:
    """The root element of an XML file.

    Raises:
        DataError: if the file cannot be read or is no XML.
    """
    content = read_content(source, what="annotation", limit=_LONGEST_XML)
    if not content or content.isspace():
        raise DataError(source, "annotation is an empty file")
    # A few entities that name each other take any amount of memory; no annotation tool has them.
    plain = content.replace(b"\0", b"") if b"\0" in content else content
    if b"<!ENTITY" in plain:
        raise DataError(source, "annotation declares XML entities: remove its <!DOCTYPE ...> part")
    encoding = None
    if b"\0" in content[:4]:
        encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        try:
            return ElementTree.fromstring(content)
        except ElementTree.ParseError as error:
            if not _may_be_encoding(error):
                raise DataError(source, f"malformed XML: {error}") from None
            fault = str(error)
        except (LookupError, ValueError) as error:
            fault = str(error)
        named = _NAMED.match(content)
        if named is None:
            raise DataError(source, _unnamed(content, fault))
        encoding = named[1].decode("ascii").lower()
        # One byte a character, or its name could not have been read.
        encoding = "utf-8" if encoding.startswith(_WIDE) else _WIDER.get(encoding, encoding)
    text = _decoded(content, encoding, source)
    try:
        return ElementTree.fromstring(_DECLARATION.sub("", text.lstrip("\ufeff")))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(source, f"malformed XML (read as {encoding}): {error}") from None


def _may_be_encoding(error: ElementTree.ParseError) -> bool:
    """Whether another way to decode the bytes may help: expat's codes for such faults."""
    invalid_token, partial_character, unknown_encoding, incorrect_encoding = 4, 6, 18, 19
    return error.code in (invalid_token, partial_character, unknown_encoding, incorrect_encoding)


def _unnamed(content: bytes, fault: str) -> str:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        return (
            f"malformed XML: it names no encoding and is not UTF-8 (byte 0x{byte:02x} at "
            f"{error.start}); save it as UTF-8, or name its encoding in the first line"
        )
    return f"malformed XML: {fault}"


def _decoded(content: bytes, encoding: str, source: str) -> str:
    try:
        if codecs.lookup(encoding).name in _NO_XML:
            raise LookupError
        return content.decode(encoding)
    except LookupError:
        reason = f"encoding {encoding!r} is unknown: save the file as UTF-8"
        raise DataError(source, reason) from None
    except (UnicodeError, ValueError) as error:
        told = shortened(str(error), 120)
        raise DataError(source, f"is not in its encoding, {encoding}: {told}") from None
