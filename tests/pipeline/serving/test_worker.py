"""The thread of the model: whom it answers, and what it holds of those who have left."""

import asyncio
import gc
import time
import weakref
from contextlib import contextmanager
from threading import Event

import pytest

from pipeline.serving.request import RequestError
from pipeline.serving.worker import GenerationJob, Worker

TIMEOUT = 60
"""Seconds; generous, for busy machines."""


class Body:
    """What a job holds of its request."""


def items_of(*items, body=None):
    return lambda: (item for item in items if body is None or body)


async def read(job):
    return await asyncio.wait_for(_all(job), TIMEOUT)


async def _all(job):
    return [item async for item in job]


@contextmanager
def working(rows=1, max_queue=1, step=lambda: None):
    worker = Worker(rows, max_queue, step)
    try:
        yield worker
    finally:
        worker.close()
        worker.join(TIMEOUT)
        assert not worker.alive


class Blocked:
    """A job's items that come when they are let go."""

    def __init__(self):
        self.began, self.let_go = Event(), Event()

    def __call__(self):
        self.began.set()
        assert self.let_go.wait(TIMEOUT)
        yield "late"


async def blocking(worker):
    """A job that keeps the thread busy, and what lets it go."""
    items = Blocked()
    job = worker.submit(items)
    assert await asyncio.to_thread(items.began.wait, TIMEOUT)
    return job, items.let_go.set


def test_items_come_in_order_and_a_refusal_is_raised():
    async def scenario():
        def refused():
            yield 1
            raise RequestError(400, "no")

        with working() as worker:
            assert await read(worker.submit(items_of(1, None, 2))) == [1, 2]
            with pytest.raises(RequestError, match="no"):
                await read(worker.submit(refused))
            assert await read(worker.submit(items_of(3))) == [3]

    asyncio.run(scenario())


def test_a_failure_ends_its_own_job_alone():
    """Also one of letting go, since the thread works for all."""

    async def scenario():
        def failing():
            yield 1
            raise ValueError

        def failing_to_let_go():
            try:
                yield "first"
                while True:
                    yield None
            finally:
                raise ValueError

        with working(rows=2) as worker:
            with pytest.raises(RequestError, match="see the server's log"):
                await read(worker.submit(failing))
            left = worker.submit(failing_to_let_go)
            assert await anext(left) == "first"
            left.cancel()
            with pytest.raises(RequestError, match="see the server's log"):
                await read(left)
            assert await read(worker.submit(items_of(3))) == [3]

    asyncio.run(scenario())


def test_nothing_more_is_made_for_a_client_that_has_left():
    """Such as the sound of what was written: the others would wait for it."""

    async def scenario():
        stepping, let_go, made = Event(), Event(), []

        def step():
            stepping.set()
            assert let_go.wait(TIMEOUT)

        def items():
            yield None
            made.append("sound")
            yield "sound"

        with working(rows=2, step=step) as worker:
            left, other = worker.submit(items), worker.submit(items_of(None, 1))
            assert await asyncio.to_thread(stepping.wait, TIMEOUT)
            left.cancel()
            let_go.set()
            assert await read(other) == [1]
            assert made == []

    asyncio.run(scenario())


def test_requests_of_clients_that_left_the_queue_are_let_go_of():
    async def scenario():
        with working() as worker:
            job, let_go = await blocking(worker)
            held = []
            for _ in range(20):
                body = Body()
                held.append(weakref.ref(body))
                worker.submit(items_of(1, body=body)).cancel()
                del body
            gc.collect()
            assert sum(body() is not None for body in held) <= 1
            let_go()
            assert await read(job) == ["late"]

    asyncio.run(scenario())


def test_the_queue_is_counted_while_the_thread_takes_from_it(monkeypatch):
    async def scenario():
        with working(max_queue=2) as worker:
            first, let_go = await blocking(worker)
            others = [worker.submit(items_of(n)) for n in range(2)]

            def slowly(job):
                let_go()
                time.sleep(0.2)  # the thread takes the next one now
                return job._cancelled.is_set()

            monkeypatch.setattr(GenerationJob, "cancelled", property(slowly))
            assert worker.waiting == 2
            monkeypatch.undo()
            assert await read(first) == ["late"]
            assert [await read(job) for job in others] == [[0], [1]]

    asyncio.run(scenario())
