"""The address of a part of a file: a member of an archive, or a cell of a table.

`tar+s3://bucket/calls.tar!1536+88000/ann/one.wav` is the 88,000 bytes from byte 1,536 on, which the archive
calls `ann/one.wav`.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

TAR, TAR_GZ, ZIP, PARQUET = KINDS = ("tar", "tgz", "zip", "parquet")
"""What a part can be of."""

_ADDRESS = re.compile(rf"({'|'.join(KINDS)})\+(.+)!(\d+(?:\+\d+)*)/([^!]*)", re.DOTALL)


@dataclass(frozen=True)
class FilePart:
    """A part of a file, by its place."""

    kind: str
    """One of `KINDS`."""
    file: str
    """URI of the file that it is in."""
    place: tuple[int, ...]
    """`tar`, `tgz`: first byte (inflated) and bytes. `zip`: byte of its header, bytes, inflated bytes, method
    and CRC. `parquet`: row group and row in it."""
    name: str
    """In the file, quoted as in URIs."""

    @staticmethod
    def of(kind: str, file: str, place: tuple[int, ...], name: bytes) -> "FilePart":
        return FilePart(kind, file, place, quote(name))

    @staticmethod
    def parse(uri: str) -> "FilePart | None":
        """The part that a URI is the address of; None if it is that of a file."""
        found = _ADDRESS.fullmatch(uri)
        if not found:
            return None
        return FilePart(found[1], found[2], tuple(map(int, found[3].split("+"))), found[4])

    @property
    def uri(self) -> str:
        return f"{self.kind}+{self.file}!{'+'.join(map(str, self.place))}/{self.name}"
