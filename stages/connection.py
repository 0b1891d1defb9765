"""The connection to a server of an OpenAI-compatible API: its address, its key, and what its refusals mean.

The API key is sent in the request header, and is nowhere else: neither in messages nor in logs.
"""

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import DataError, SetupError

MAX_RETRY_AFTER = 300.0
"""Maximum wait, in seconds, for the Retry-After of a server."""
ERROR_BYTES = 65536
"""Read of the reply of a refusal."""


@dataclass(frozen=True)
class ApiKey:
    place: str
    """Where it is read from, for messages: `$VARIABLE` or a file."""
    value: str = field(repr=False)
    """Empty: none is sent."""

    @classmethod
    def of_variable(cls, variable: str) -> "ApiKey":
        return cls(f"${variable}", os.environ.get(variable, ""))

    @classmethod
    def of_file(cls, file: Path) -> "ApiKey":
        """The only line of a file. Raises SetupError, which never shows it, if there isn't exactly one."""
        try:
            lines = file.read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SetupError(f"{file} can't be read as the file of an API key: {reason}") from None
        if len(lines) != 1 or not lines[0].isascii():
            raise SetupError(f"{file} must have one line with the API key and nothing else")
        return cls(str(file), lines[0])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}


class RetryableError(Exception):
    """A failed request that may succeed on another try."""

    def __init__(self, code: str, message: str, billed: bool, wait: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.billed = billed
        """Whether the server may charge for the failed request, since it may have processed it."""
        self.wait = wait
        """Seconds to wait before the next try, as requested by the server."""


class Connection:
    """Thread-safe."""

    def __init__(self, url: str, model: str, key: ApiKey, timeout: float) -> None:
        """`timeout` is in seconds, for each piece of a reply; `model` is named in messages. Raises SetupError
        for an address that can't be one."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise SetupError(
                "the `url` of a server must be http(s)://host[:port]/path, without user, password or "
                f"query; set the API key in {key.place}"
            )
        import httpx2

        self._url = url.rstrip("/")
        self._model = model
        self._key = key
        self._timeout = timeout
        self._client = httpx2.Client(headers=key.headers, timeout=timeout)

    def close(self) -> None:
        self._client.close()

    def address(self, path: str) -> str:
        parts = urlsplit(self._url + path)
        return f"{parts.netloc}{parts.path}"

    def post(self, path: str, content: bytes, kind: str = "application/json") -> Generator[bytes, None, None]:
        """The pieces of the reply as they arrive, if its status is 200.

        Raises RetryableError if another try may succeed, SetupError if the key or the address is wrong, and
        DataError `refused` for other refusals.
        """
        with self._failures():
            request = self._client.stream(
                "POST", self._url + path, content=content, headers={"Content-Type": kind}
            )
            with request as response:
                if response.status_code == 200:
                    yield from response.iter_bytes()
                    return
                refused = next(response.iter_bytes(ERROR_BYTES), b"")
            raise self._refusal(path, response.status_code, response.headers.get("retry-after"), refused)

    def get(self, path: str) -> bytes:
        """The reply, if its status is 200. Raises the errors of `post`."""
        with self._failures():
            response = self._client.get(self._url + path)
        if response.status_code == 200:
            return response.content
        raise self._refusal(path, response.status_code, response.headers.get("retry-after"), response.content)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except httpx2.ConnectError:
            raise RetryableError("unreachable", "can't be reached", billed=False) from None
        except httpx2.TimeoutException:
            raise RetryableError("timeout", f"took over {self._timeout:g} s", billed=True) from None
        except (httpx2.TransportError, httpx2.DecodingError):
            raise RetryableError("unreachable", "closed the connection", billed=True) from None

    def _refusal(self, path: str, status: int, retry_after: str | None, body: bytes) -> Exception:
        if status == 429:
            wait = _retry_after_seconds(retry_after)
            return RetryableError("rate_limited", "says 429, too many requests", False, wait)
        if status in (408, 409, 425) or status >= 500:
            wait = _retry_after_seconds(retry_after)
            return RetryableError("server_error", f"answers {status}", False, wait)
        address, place = self.address(path), self._key.place
        if status in (401, 403):
            rejected = f"rejected the API key in {place}"
            what = rejected if self._key.value else f"requires an API key: set {place}"
            return SetupError(f"{address} {what} (status {status})")
        message = _error_message(body)
        if self._key.value:
            message = message.replace(self._key.value, "***")
        if status in (404, 405) or 300 <= status < 400:
            return SetupError(
                f"{address} returned status {status}: no such service or model ({self._model}); check "
                f"that `url` is the base URL, such as http://host:8000/v1. {message}".rstrip()
            )
        return DataError("refused", f"{address} answers {status}: {message}")


def _retry_after_seconds(retry_after: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number or a date; None if it is neither."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            at = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (at.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def _error_message(body: bytes) -> str:
    """The error message of a response, shortened."""
    try:
        reply: dict[str, Any] = json.loads(body)
        error = reply["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace")
    return " ".join(str(message).split())[:200]
