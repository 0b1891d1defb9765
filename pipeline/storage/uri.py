"""URIs of storage: `file:///..`, `s3://bucket/..`, `gs://bucket/..`, and `hf://datasets/..`."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from schemas.errors import SetupError


def normalize_uri(uri: str) -> str:
    """A URI with a scheme; a plain path becomes an absolute `file://` URI. Only that of the root directory,
    `file:///`, ends in a slash."""
    if "://" not in uri:
        uri = Path(uri).expanduser().resolve().as_uri()
    scheme, bucket, _ = uri_parts(uri)
    if "@" in bucket:
        raise SetupError(
            f"a URI can't hold credentials ({scheme}://..): set AWS_PROFILE to a profile instead"
        )
    if scheme not in ("file", "s3", "gs", "hf") or (scheme != "file" and not bucket):
        raise SetupError(
            f"can't read {without_secrets(uri)}: storage is a path, file://, s3://bucket or gs://bucket, and "
            "for inputs hf://datasets/.."
        )
    stripped = uri.rstrip("/")
    return "file:///" if stripped == "file:" else stripped


def without_secrets(text: str) -> str:
    """A text without possible secrets in its URLs: user and password, and the query of http(s) URLs."""
    text = re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)
    return re.sub(r"(https?://[^\s?]*)\?[^\s\"')]*", r"\1?..", text)


def uri_parts(uri: str) -> tuple[str, str, str]:
    """Scheme, bucket and prefix, not decoded: a key may contain characters that mean something in a URL."""
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    return scheme, bucket, prefix


def local_path(uri: str) -> Path:
    """The path of a `file://` URI."""
    return Path(file_name(urlsplit(uri).path))


def file_name(quoted: str) -> str:
    """The path or name in a `file://` URI; bytes that aren't UTF-8 are escaped as by `os.fsdecode`."""
    return unquote(quoted, errors="surrogateescape")
