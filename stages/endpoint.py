"""Client of an OpenAI-compatible server, with a rate limit, retries, a budget and a reply cache."""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from pydantic import Field

from schemas.errors import DataError
from stages.budget import Budget, BudgetTracker
from stages.connection import ApiKey, Connection, RetryableError
from stages.replies import Cost, Replies
from stages.stage import Config

Reply = TypeVar("Reply")

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Ten minutes of speech are 30 MB."""
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


class Endpoint:
    """Thread-safe client of a server. The cost of the cached `replies` counts towards the budget."""

    def __init__(self, config: EndpointConfig, replies: Replies) -> None:
        self._config = config
        key = ApiKey.of_variable(config.key_variable)
        self._connection = Connection(config.url, config.model, key, config.timeout)
        self._replies = replies
        self._tracker = BudgetTracker(config.budget, replies.spent)
        self._rate_limit = _RateLimit(60 / config.requests_per_minute if config.requests_per_minute else 0.0)
        self._failures = 0

    @property
    def spent(self) -> Cost:
        return self._tracker.spent

    def close(self) -> None:
        self._connection.close()

    def post(
        self,
        path: str,
        body: dict[str, Any],
        max_cost: Cost,
        read: Callable[[bytes], tuple[Reply, Cost | None]],
        file: bytes | None = None,
        watch: Callable[[bytes], None] | None = None,
        take: int = 0,
    ) -> Reply:
        """The reply to a body, parsed by `read`. Requests with a cached reply are not sent again.

        The body is JSON, or with `file`, a WAV file, the fields of a form. `watch` gets each piece of the
        reply as it arrives, and before each try an empty one. Each `take` of a body has a reply of its own.

        `max_cost` is the upper bound of the cost of one try. `read` returns the parsed reply and its cost, if
        the reply reports it, and raises ValueError for an unusable reply. Raises DataError (`timeout`,
        `unreachable`, `rate_limited`, `server_error`, `bad_reply`, `refused`, `budget`), and SetupError if
        the key or the address is wrong.
        """
        if file is None:
            content, kind = json.dumps(body, sort_keys=True, ensure_ascii=False).encode(), "application/json"
        else:
            content, kind = _form(body, file)
        of_take = f"\ntake {take}".encode() if take else b""
        request = hashlib.sha256(f"{path}\n".encode() + content + of_take).hexdigest()
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
                except RetryableError as failed:
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
                self._rate_limit.hold(failure.wait)
            elif number + 1 < tries:
                time.sleep(min(60.0, self._config.backoff * 2**number) * random.uniform(0.5, 1.0))
        self._failures += 1
        raise DataError(
            failure.code,
            f"{self._connection.address(path)} {failure} ({tries} {'try' if tries == 1 else 'tries'})",
        )

    def _send(self, path: str, content: bytes, kind: str, watch: Callable[[bytes], None]) -> bytes:
        """The body of a response with status 200. Raises `RetryableError` if another try may succeed."""
        seconds = self._config.timeout
        deadline = time.monotonic() + seconds
        watch(b"")
        received = bytearray()
        with closing(self._connection.post(path, content, kind)) as chunks:
            for chunk in chunks:
                received += chunk
                watch(chunk)
                if len(received) > MAX_REPLY_BYTES:
                    message = f"{self._connection.address(path)} sent over {MAX_REPLY_BYTES:,} bytes"
                    raise DataError("bad_reply", message)
                if time.monotonic() > deadline:  # the timeout of the connection applies to each chunk
                    raise RetryableError("timeout", f"took over {seconds:g} s", billed=True)
        return bytes(received)


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
        raise RetryableError("bad_reply", f"sent no usable reply: {error}", billed=True) from None
