"""The keys that requests must carry, if the server has any."""

import hmac
from pathlib import Path

from pipeline.serving.request import RequestError
from schemas.errors import SetupError


class ApiKeys:
    """Without keys, every request is allowed."""

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        self._keys = keys

    @classmethod
    def read(cls, file: Path) -> "ApiKeys":
        """The keys in a file, one a line; empty lines and those that start with # are skipped.

        Raises SetupError, which never shows a key, if there are none, or a line is not a key.
        """
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SetupError(f"{file} can't be read as a file of keys: {reason}") from None
        keys = []
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line.startswith("#"):
                continue
            if len(line.split()) > 1:
                # Such as a name beside it, as in the lines of `rate`.
                raise SetupError(f"{file}:{number}: the line is more than a key: write the key alone")
            if not line.isascii():
                raise SetupError(f"{file}:{number}: a header can't carry this key: use ASCII characters")
            keys.append(line)
        if not keys:
            raise SetupError(f"{file} has no key: write one a line")
        return cls(tuple(keys))

    def check(self, authorization: str | None) -> None:
        """Raises RequestError unless the header `Authorization` has a key."""
        kind, _, key = (authorization or "").partition(" ")
        given = key.strip().encode() if kind.lower() == "bearer" else b""
        equal = [hmac.compare_digest(given, own.encode()) for own in self._keys]
        if self._keys and not any(equal):
            problem = "this key is not known to the server" if given else "this server needs a key"
            message = f"{problem}: send one as `Authorization: Bearer KEY`"
            raise RequestError(401, message, code="invalid_api_key")
