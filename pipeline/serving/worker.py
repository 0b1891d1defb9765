"""One thread for the model, with a bounded queue."""

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Condition, Event, Thread
from typing import Generic, TypeVar

from pipeline.serving.request import RequestError

LOG = logging.getLogger("aqaa_data.serve")
RETRY_SECONDS = 5

Item = TypeVar("Item")


class GenerationJob(Generic[Item]):
    """Items generated in the worker's thread, for one reader in the event loop that created the job."""

    def __init__(self, items: Callable[[], Iterator[Item]]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Queue[Item | RequestError | None] = asyncio.Queue()
        self._cancelled = Event()

    def __aiter__(self) -> "GenerationJob[Item]":
        return self

    async def __anext__(self) -> Item:
        """Raises RequestError if the job failed or was cancelled with a reason."""
        item = await self._ready.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, RequestError):
            raise item
        return item

    def cancel(self, reason: RequestError | None = None) -> None:
        """Stop at the next item; the reader gets `reason`."""
        self._cancelled.set()
        if reason is not None:
            self._send(reason)

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def run(self) -> None:
        try:
            for item in self._items():
                if self.cancelled:
                    return
                self._send(item)
            self._send(None)
        except RequestError as refusal:
            self._send(refusal)
        except Exception as error:
            # The location only: the error's message could contain what a user said.
            where = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("an answer failed: %s\n%s", type(error).__name__, where)
            self._send(RequestError(500, "the answer failed; see the server's log"))

    def _send(self, item: Item | RequestError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed, so there is no reader
            self._loop.call_soon_threadsafe(self._ready.put_nowait, item)


class Worker:
    """Runs jobs one at a time in its thread."""

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        self._jobs: deque[GenerationJob] = deque()
        self._running: GenerationJob | None = None
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def busy(self) -> bool:
        return self._running is not None

    @property
    def waiting(self) -> int:
        return sum(not job.cancelled for job in self._jobs)

    def submit(self, items: Callable[[], Iterator[Item]]) -> GenerationJob[Item]:
        """Queue a job. Raises RequestError if the queue is full or the worker is closed."""
        with self._changed:
            if self._closed:
                raise stopping()
            if self.waiting + self.busy > self._max_queue:
                raise RequestError(
                    429,
                    f"{self.waiting} requests are waiting already: try again later",
                    code="rate_limit_exceeded",
                )
            job = GenerationJob(items)
            self._jobs.append(job)
            self._changed.notify()
            return job

    def close(self) -> None:
        """Refuse waiting and new jobs, and stop the current one."""
        with self._changed:
            self._closed = True
            for job in (*self._jobs, *([self._running] if self._running else [])):
                job.cancel(stopping())
            self._jobs.clear()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread to finish."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                self._running = job = self._jobs.popleft()
            if not job.cancelled:
                job.run()


def stopping() -> RequestError:
    return RequestError(503, "the server is being stopped")
