"""Client of an OpenAI-compatible server, with a rate limit, retries, a budget and a reply cache.

The API key is read from the environment and sent in the request header, nowhere else.
"""

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import Field

from schemas.errors import DataError, SetupError
from stages.budget import Budget, BudgetTracker
from stages.replies import Cost, Replies
from stages.stage import Config

Reply = TypeVar("Reply")

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Ten minutes of speech are 30 MB."""
MAX_RETRY_AFTER = 300.0
"""Maximum wait, in seconds, for the Retry-After of a server."""
MAX_FAILED_REQUESTS = 5
"""After this number of consecutive failed requests, further ones are not retried."""


class EndpointConfig(Config):
    url: str = Field(description="base URL of an OpenAI-compatible API, such as http://localhost:8000/v1")
    model: str = Field(description="name of the model on the server")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="environment variable with the API key; if it is unset, no key is sent"
    )
    timeout: float = Field(120, gt=0, description="maximum time for a reply, in seconds")
    retries: int = Field(
        5,
        ge=0,
        description="maximum retries after timeouts, connection errors and the statuses 429 and 5xx",
    )
    backoff: float = Field(1, ge=0, description="seconds before the first retry; doubles with each retry")
    requests_per_minute: float | None = Field(
        None, gt=0, description="rate limit, in requests per minute (null: none)"
    )
    parallel: int = Field(4, ge=1, description="maximum number of concurrent requests")
    budget: Budget = Field(Budget(), description="limits of what is requested from this server")

    def reply_settings(self) -> dict[str, Any]:
        """The settings that affect the content of replies: all but those of the connection."""
        operational = set(EndpointConfig.model_fields) - {"model"}
        return self.model_dump(mode="json", exclude=operational)


class _RetryableError(Exception):
    """A failed request that may succeed on another try."""

    def __init__(self, code: str, message: str, billed: bool, wait: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.billed = billed
        """Whether the server may charge for the failed request, since it may have processed it."""
        self.wait = wait
        """Seconds to wait before the next try, as requested by the server."""


def authorization(variable: str) -> dict[str, str]:
    """The header of requests with the API key of an environment variable; none if it isn't set."""
    key = os.environ.get(variable, "")
    return {"Authorization": f"Bearer {key}"} if key else {}


class Endpoint:
    """Thread-safe client of a server. The cost of the cached `replies` counts towards the budget."""

    def __init__(self, config: EndpointConfig, replies: Replies) -> None:
        parts = urlsplit(config.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise SetupError(
                "the `url` of a server must be http(s)://host[:port]/path, without user, password or "
                f"query; set the API key in ${config.key_variable}"
            )
        import httpx2

        self._config = config
        self._url = config.url.rstrip("/")
        self._key = os.environ.get(config.key_variable, "")
        self._client = httpx2.Client(headers=authorization(config.key_variable), timeout=config.timeout)
        self._replies = replies
        self._tracker = BudgetTracker(config.budget, replies.spent)
        self._rate_limit = _RateLimit(60 / config.requests_per_minute if config.requests_per_minute else 0.0)
        self._failures = 0

    @property
    def spent(self) -> Cost:
        return self._tracker.spent

    def close(self) -> None:
        self._client.close()

    def post(
        self,
        path: str,
        body: dict[str, Any],
        max_cost: Cost,
        read: Callable[[bytes], tuple[Reply, Cost | None]],
        file: bytes | None = None,
        watch: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """The reply to a body, parsed by `read`. Requests with a cached reply are not sent again.

        The body is JSON, or with `file`, a WAV file, the fields of a form. `watch` gets each piece of the
        reply as it arrives, and before each try an empty one.

        `max_cost` is the upper bound of the cost of one try. `read` returns the parsed reply and its cost, if
        the reply reports it, and raises ValueError for an unusable reply. Raises DataError (`timeout`,
        `unreachable`, `rate_limited`, `server_error`, `bad_reply`, `refused`, `budget`), and SetupError if
        the key or the address is wrong.
        """
        if file is None:
            content, kind = json.dumps(body, sort_keys=True, ensure_ascii=False).encode(), "application/json"
        else:
            content, kind = _form(body, file)
        request = hashlib.sha256(f"{path}\n".encode() + content).hexdigest()
        cached = self._replies.get(request)
        if cached is not None:
            return read(cached)[0]
        tries = 1 if self._failures >= MAX_FAILED_REQUESTS else 1 + self._config.retries
        total = Cost()
        for number in range(tries):
            with self._tracker.reserve(max_cost) as charge:
                self._rate_limit.wait()
                try:
                    reply = self._send(path, content, kind, watch or (lambda piece: None))
                    answer, cost = _parsed(reply, read)
                    charge.cost = cost or max_cost
                except _RetryableError as failed:
                    charge.cost = max_cost if failed.billed else Cost(requests=1)
                    failure = failed
                except BaseException:
                    charge.cost = Cost(requests=1)
                    raise
                else:
                    self._failures = 0
                    self._replies.put(request, reply, total + charge.cost)
                    return answer
            total += charge.cost
            if failure.wait is not None:
                self._rate_limit.hold(min(failure.wait, MAX_RETRY_AFTER))
            elif number + 1 < tries:
                time.sleep(min(60.0, self._config.backoff * 2**number) * random.uniform(0.5, 1.0))
        self._failures += 1
        raise DataError(
            failure.code, f"{self._address(path)} {failure} ({tries} {'try' if tries == 1 else 'tries'})"
        )

    def _send(self, path: str, content: bytes, kind: str, watch: Callable[[bytes], None]) -> bytes:
        """The body of a response with status 200. Raises `_RetryableError` if another try may succeed."""
        import httpx2

        seconds = self._config.timeout
        deadline = time.monotonic() + seconds
        headers = {"Content-Type": kind}
        watch(b"")
        try:
            with self._client.stream("POST", self._url + path, content=content, headers=headers) as response:
                received = bytearray()
                for chunk in response.iter_bytes():
                    received += chunk
                    watch(chunk)
                    if len(received) > MAX_REPLY_BYTES:
                        raise DataError(
                            "bad_reply", f"{self._address(path)} sent over {MAX_REPLY_BYTES:,} bytes"
                        )
                    if time.monotonic() > deadline:  # the timeout of the client applies to each chunk
                        raise _RetryableError("timeout", f"took over {seconds:g} s", billed=True)
        except httpx2.ConnectError:
            raise _RetryableError("unreachable", "can't be reached", billed=False) from None
        except httpx2.TimeoutException:
            raise _RetryableError("timeout", f"took over {seconds:g} s", billed=True) from None
        except (httpx2.TransportError, httpx2.DecodingError):
            raise _RetryableError("unreachable", "closed the connection", billed=True) from None
        if response.status_code == 200:
            return bytes(received)
        raise self._refusal(path, response.status_code, response.headers.get("retry-after"), bytes(received))

    def _refusal(self, path: str, status: int, retry_after: str | None, body: bytes) -> Exception:
        if status == 429:
            return _RetryableError(
                "rate_limited", "says 429, too many requests", False, _retry_after_seconds(retry_after)
            )
        if status in (408, 409, 425) or status >= 500:
            return _RetryableError(
                "server_error", f"answers {status}", False, _retry_after_seconds(retry_after)
            )
        address, variable = self._address(path), self._config.key_variable
        if status in (401, 403):
            what = (
                f"rejected the API key in ${variable}"
                if self._key
                else f"requires an API key: set ${variable}"
            )
            return SetupError(f"{address} {what} (status {status})")
        message = _error_message(body)
        if self._key:
            message = message.replace(self._key, "***")
        if status in (404, 405) or 300 <= status < 400:
            return SetupError(
                f"{address} returned status {status}: no such service or model ({self._config.model}); check "
                f"that `url` is the base URL, such as http://host:8000/v1. {message}".rstrip()
            )
        return DataError("refused", f"{address} answers {status}: {message}")

    def _address(self, path: str) -> str:
        parts = urlsplit(self._url + path)
        return f"{parts.netloc}{parts.path}"


class _RateLimit:
    """Keeps the starts of requests of all threads at least `seconds` apart."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            at = max(time.monotonic(), self._next)
            self._next = at + self._seconds
        time.sleep(max(0.0, at - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Delay all further requests by this number of seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def _form(fields: dict[str, Any], file: bytes) -> tuple[bytes, str]:
    """The body and the content type of a form with a WAV file (multipart/form-data, RFC 7578).

    The same fields give the same bytes: the boundary is a hash of the file.
    """
    boundary = hashlib.sha256(file).hexdigest()
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in sorted(fields.items())
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    content = b"".join([*parts, head.encode(), file, f"\r\n--{boundary}--\r\n".encode()])
    return content, f"multipart/form-data; boundary={boundary}"


def _parsed(reply: bytes, read: Callable[[bytes], tuple[Reply, Cost | None]]) -> tuple[Reply, Cost | None]:
    try:
        return read(reply)
    except ValueError as error:
        raise _RetryableError("bad_reply", f"sent no usable reply: {error}", billed=True) from None


def _retry_after_seconds(retry_after: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number or a date; None if it is neither."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _error_message(body: bytes) -> str:
    """The error message of a response, shortened."""
    try:
        error = json.loads(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace")
    return " ".join(str(message).split())[:200]
