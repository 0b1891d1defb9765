"""Reading the data of several steps at the same time, before they are needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 8
"""Results that are read at a time: object storage takes a long time to answer, and many questions at once."""


def read_ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results of `read`, which is called in threads, in the order of the items. Raises what it raises."""
    remaining = iter(items)
    with ThreadPoolExecutor(AHEAD) as readers:
        ahead = deque(readers.submit(read, item) for item in islice(remaining, AHEAD))
        while ahead:
            result = ahead.popleft().result()
            ahead.extend(readers.submit(read, item) for item in islice(remaining, 1))
            yield result
