"""What gzip has compressed in a file, as a seekable file of which nothing is written to disk.

While it is read, the state of zlib is kept every so often, so that what was passed once is reached again
without starting over.
"""

import io
import zlib
from bisect import bisect_right
from typing import IO, Any, NamedTuple

from schemas.errors import DataError

GZIP = b"\x1f\x8b"
"""The first bytes of a file compressed by gzip."""

MOST_INFLATED = 200
"""Times its size that a compressed file or member may have, which no sound reaches."""
NO_BOMB = 100_000_000
"""Bytes up to which the size doesn't matter."""

_INPUT = 64 * 1024
_OUTPUT = 256 * 1024
_EVERY = 32_000_000
"""Bytes between the states that are kept, of about 45 kB each."""


class _State(NamedTuple):
    at: int
    """Inflated bytes before it."""
    read: int
    """Bytes read of the file."""
    rest: bytes
    """Those of them that are not inflated yet."""
    zlib: Any


class InflatedFile(io.RawIOBase):
    """Raises DataError where the file is damaged, ends too early, or inflates without measure."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._states = [_State(0, 0, b"", _inflater())]
        self._at = self._read = 0
        self._rest = b""
        self._ready = memoryview(b"")
        self._zlib: Any = None
        self._resume(self._states[0])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; `SEEK_END` isn't possible, as the size is not known."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the size is not known")
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        state = self._states[bisect_right(self._states, target, key=lambda state: state.at) - 1]
        if target < self._at or state.at > self._at + len(self._ready):
            self._resume(state)
        while self._at < target and (self._ready or self._inflate()):
            passed = min(target - self._at, len(self._ready))
            self._ready = self._ready[passed:]
            self._at += passed
        return self._at

    def readinto(self, buffer: Any) -> int:
        if not self._ready and not self._inflate():
            return 0
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def _resume(self, state: _State) -> None:
        self._file.seek(state.read)
        self._at, self._read, self._rest = state.at, state.read, state.rest
        self._zlib = state.zlib.copy()
        self._ready = memoryview(b"")

    def _inflate(self) -> bool:
        """Inflate the next bytes; False at the end."""
        while True:
            if not self._rest:
                self._rest = self._file.read(_INPUT)
                self._read += len(self._rest)
            if self._zlib.eof:
                self._rest = self._rest.lstrip(b"\0")
                if not self._rest and not self._more():
                    return False
                self._zlib = _inflater()
            elif not self._rest:
                raise DataError("truncated", f"the gzip file ends too early, after {self._read:,} bytes")
            try:
                data = self._zlib.decompress(self._rest, _OUTPUT)
            except zlib.error as error:
                raise DataError(
                    "damaged_gzip", f"it can't be inflated at byte {self._read:,}: {error}"
                ) from error
            self._rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            if data:
                self._ready = memoryview(data)
                self._check(self._at + len(data))
                return True

    def _more(self) -> bool:
        """Read on after padding; False at the end of the file."""
        while data := self._file.read(_INPUT):
            self._read += len(data)
            if rest := data.lstrip(b"\0"):
                self._rest = rest
                return True
        return False

    def _check(self, inflated: int) -> None:
        """Keep the state, and see that the file is no bomb."""
        if inflated > max(NO_BOMB, MOST_INFLATED * self._read):
            raise DataError(
                "bomb", f"its first {self._read:,} bytes inflate to over {MOST_INFLATED} times their size"
            )
        if inflated - self._states[-1].at >= _EVERY and not self._zlib.eof:
            self._states.append(_State(inflated, self._read, self._rest, self._zlib.copy()))


def _inflater() -> Any:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)
