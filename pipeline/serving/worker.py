"""One thread for the model, and a queue of bounded length before it."""

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
    """What the thread makes, for one reader in the event loop that made the job."""

    def __init__(self, items: Callable[[], Iterator[Item]]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._made: asyncio.Queue[Item | RequestError | None] = asyncio.Queue()
        self._cancelled = Event()

    def __aiter__(self) -> "GenerationJob[Item]":
        return self

    async def __anext__(self) -> Item:
        """Raises RequestError where no more comes but should."""
        item = await self._made.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, RequestError):
            raise item
        return item

    def cancel(self, why: RequestError | None = None) -> None:
        """Nobody wants any more; the thread stops at its next piece."""
        self._cancelled.set()
        if why is not None:
            self._tell(why)

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def run(self) -> None:
        try:
            for item in self._items():
                if self.cancelled:
                    return
                self._tell(item)
            self._tell(None)
        except RequestError as refusal:
            self._tell(refusal)
        except Exception as error:
            # Where, but not what: the message may hold what somebody said.
            where = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("an answer failed: %s\n%s", type(error).__name__, where)
            self._tell(RequestError(500, "the answer failed; the server's log says where"))

    def _tell(self, item: Item | RequestError | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._made.put_nowait, item)


class Worker:
    def __init__(self, waiting: int) -> None:
        self._most = waiting
        self._jobs: deque[GenerationJob] = deque()
        self._running: GenerationJob | None = None
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="model", daemon=True)
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
        """Have it made in its turn. Raises RequestError where too many wait already."""
        with self._changed:
            if self._closed:
                raise stopping()
            if self.waiting + self.busy > self._most:
                raise RequestError(
                    429, f"{self.waiting} requests wait already: try again later", code="rate_limit_exceeded"
                )
            job = GenerationJob(items)
            self._jobs.append(job)
            self._changed.notify()
            return job

    def close(self) -> None:
        """Refuse what waits and what comes, and stop what is made now."""
        with self._changed:
            self._closed = True
            for job in (*self._jobs, *([self._running] if self._running else [])):
                job.cancel(stopping())
            self._jobs.clear()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end what it makes."""
        self._thread.join(seconds)

    def _work(self) -> None:
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
