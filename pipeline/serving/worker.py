"""One thread for the model, which answers several requests in steps, with a bounded queue."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from threading import Condition, Event, Thread
from typing import Generic, TypeVar

from pipeline.serving.request import RequestError

LOG = logging.getLogger("aqaa_data.serve")
RETRY_SECONDS = 5

Item = TypeVar("Item")


class GenerationJob(Generic[Item]):
    """Items generated in the worker's thread, for one reader in the event loop that created the job."""

    def __init__(self, items: Callable[[], Iterator[Item | None]]) -> None:
        """An item None says that the next one needs a step of the worker."""
        self._create = items
        self._items: Iterator[Item | None] | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Queue[Item | RequestError | None] = asyncio.Queue()
        """None after the last item."""
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

    def advance(self) -> bool:
        """Send the items until one needs a step. False: there are no more."""
        if self.cancelled:
            self.close()
            return False
        try:
            self._items = self._items or self._create()
            for item in self._items:
                if self.cancelled:
                    break
                if item is None:
                    return True
                self._send(item)
            else:
                self._send(None)
        except RequestError as refusal:
            self._send(refusal)
        except Exception as error:
            self.fail(error)
        self.close()
        return False

    def fail(self, error: Exception) -> None:
        """Tell the reader that there is no answer; the log says where it failed."""
        log_failure("an answer", error)
        self._send(RequestError(500, "the answer failed; see the server's log"))

    def close(self) -> None:
        """Let go of what the items hold, such as a row of the batch."""
        items, self._items = self._items, None
        try:
            if isinstance(items, Generator):
                items.close()
        except Exception as error:
            self.fail(error)

    def _send(self, item: Item | RequestError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed, so there is no reader
            self._loop.call_soon_threadsafe(self._ready.put_nowait, item)


class Worker:
    """Runs up to `rows` jobs at a time in its thread: `step` is called whenever all of them wait for it."""

    def __init__(self, rows: int, max_queue: int, step: Callable[[], None]) -> None:
        self.rows = rows
        self._max_queue = max_queue
        self._step = step
        # Tuples, since other threads look at them while they change.
        self._jobs: tuple[GenerationJob, ...] = ()
        self._running: tuple[GenerationJob, ...] = ()
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return sum(not job.cancelled for job in self._jobs)

    def submit(self, items: Callable[[], Iterator[Item | None]]) -> GenerationJob[Item]:
        """Queue a job. Raises RequestError if the queue is full or the worker is closed."""
        with self._changed:
            if self._closed:
                raise stopping()
            if self.waiting + self.running >= self.rows + self._max_queue:
                raise RequestError(
                    429,
                    f"{self.running} requests are being answered and {self.waiting} wait: try again later",
                    code="rate_limit_exceeded",
                )
            job = GenerationJob(items)
            # Cancelled ones would hold their requests until there is room for them.
            self._jobs = (*(other for other in self._jobs if not other.cancelled), job)
            self._changed.notify()
            return job

    def close(self) -> None:
        """Refuse waiting and new jobs, and stop the current ones."""
        with self._changed:
            self._closed = True
            for job in (*self._jobs, *self._running):
                job.cancel(stopping())
            self._jobs = ()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread to finish."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while self._admit():
            self._running = tuple([job for job in self._running if job.advance()])
            if not self._running:
                continue
            try:
                self._step()
            except Exception as error:
                for job in self._running:
                    job.fail(error)
                    job.close()
                self._running = ()

    def _admit(self) -> bool:
        """Take jobs for which there is room, and wait if there are none at all. False: it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._running or self._closed)
            room = self.rows - len(self._running)
            self._running, self._jobs = (*self._running, *self._jobs[:room]), self._jobs[room:]
            if self._closed:
                for job in self._running:
                    job.close()
            return not self._closed


def log_failure(what: str, error: Exception) -> None:
    """The location only: the error's message could contain what a user said."""
    where = "".join(traceback.format_tb(error.__traceback__))
    LOG.error("%s failed: %s\n%s", what, type(error).__name__, where)


def stopping() -> RequestError:
    return RequestError(503, "the server is being stopped")
