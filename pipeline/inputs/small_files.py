"""Small files beside a recording: companions and sidecars."""

import errno
from urllib.parse import unquote

from pipeline.storage.store import split
from schemas.errors import DataError
from schemas.text_files import decoded

INLINE = "data:application/json,"
"""Prefix of the URI of a sidecar that is in a manifest itself."""


def read_text(uri: str, largest: int) -> str:
    """The text of a file; invalid bytes become lone surrogates. Raises DataError if it can't be read."""
    if uri.startswith(INLINE):
        return unquote(uri.removeprefix(INLINE))
    store, name = split(uri)
    try:
        if store.is_local:
            with store.local(name) as path:
                if path.exists() and not path.is_file():
                    raise DataError("unreadable", f"{name} is not a file")
                size = path.stat().st_size
                data = path.read_bytes() if size <= largest else b""
        else:
            size = store.head(name).bytes
            data = store.get(name) if size <= largest else b""
    except FileNotFoundError as error:
        raise DataError("vanished", f"{name} is no longer there") from error
    except PermissionError as error:
        raise DataError("unreadable", f"there is no permission to read {name}") from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise DataError("unreadable", f"{name} is a link loop") from error
    if size > largest:
        raise DataError("too_large", f"{name} has over {largest:,} bytes")
    return decoded(data)
