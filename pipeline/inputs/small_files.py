"""Small files beside a recording: companions and sidecars."""

import base64
import errno
import zlib
from urllib.parse import quote, unquote

from pipeline.inputs.part import FilePart
from pipeline.inputs.part_reading import member_bytes, size_of
from pipeline.storage.store import split
from schemas.errors import DataError
from schemas.text_files import decoded

INLINE = "data:application/json,"
"""Prefix of the URI of a sidecar that is in a manifest itself."""

_PACKED = "data:application/zlib;base64,"
"""Prefix of the URI of a companion that was made of rows of a manifest."""


def packed(text: str, name: str) -> str:
    """The URI of a companion with a text; `name` stands in messages. Compressed, as millions are listed."""
    data = base64.urlsafe_b64encode(zlib.compress(text.encode())).decode()
    return f"{_PACKED}{data}/{quote(name, safe='')}"


def read_text(uri: str, largest: int) -> str:
    """The text of a file; invalid bytes become lone surrogates. Raises DataError if it can't be read."""
    if uri.startswith(INLINE):
        return unquote(uri.removeprefix(INLINE))
    if uri.startswith(_PACKED):
        content = uri.removeprefix(_PACKED).partition("/")[0]
        return decoded(zlib.decompress(base64.urlsafe_b64decode(content)))
    if part := FilePart.parse(uri):
        return _part_text(part, largest)
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


def _part_text(part: FilePart, largest: int) -> str:
    """The text of a member of an archive."""
    name = unquote(part.name)
    if size_of(part) > largest:
        raise DataError("too_large", f"{name} has over {largest:,} bytes")
    try:
        return decoded(b"".join(member_bytes(part)))
    except FileNotFoundError as error:
        raise DataError("vanished", f"the archive of {name} is no longer there") from error
    except DataError as error:
        raise DataError(error.code, f"{name}: {error.message}") from error
