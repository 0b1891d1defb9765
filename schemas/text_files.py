"""Text of files that people and other tools wrote: its encoding, and its lines.

Only `\\n` ends a line: `str.splitlines` also splits at U+2028, U+0085 and others, which a text may hold.
"""

import codecs
import re
import unicodedata

_MARKED = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32; bytes that are not valid UTF-8 become lone surrogates.

    Without a byte order mark, UTF-16 is recognised by its zero bytes.
    """
    for mark, encoding in _MARKED:
        if data.startswith(mark):
            errors = "surrogateescape" if encoding == "utf-8" else "replace"
            return data[len(mark) :].decode(encoding, errors)
    if b"\0" in data[:4096]:
        big_endian = data[:4096:2].count(0) > data[1:4096:2].count(0)
        return data.decode("utf-16-be" if big_endian else "utf-16-le", "replace")
    return data.decode("utf-8", "surrogateescape")


def western(text: str) -> str | None:
    """`text` of `decoded` with its invalid bytes read as Windows-1252; None if they aren't that.

    Western languages have few letters in a row that are not ASCII; other encodings have many.
    """
    data = text.encode("utf-8", "surrogateescape")
    if re.search(rb"[\x80-\xff]{3}", data):
        return None
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return None


def valid(text: str) -> bool:
    """Whether a text is valid Unicode: without lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def lines(text: str) -> list[str]:
    """The lines of a text, without their ends; those of old Macs end in `\\r` alone."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    found = [line.removesuffix("\r") for line in text.split("\n")]
    return found[:-1] if found and not found[-1] else found


def fold(name: str) -> str:
    """A name without differences of case and of Unicode form, by which files are matched."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
