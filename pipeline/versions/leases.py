"""Leases: how a build and a garbage collection keep out of each other's way in one store.

A lease is a small object that its holder renews; one that isn't renewed, because its holder was killed,
ends by itself. A build and a collection both write theirs first and look for the other's then, so of two
that start together at least one sees the other.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Literal

from pipeline.background import BackgroundLoop
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.errors import SetupError

LIFE = 300.0
"""Seconds that a lease lasts unless it is renewed, which happens three times in that time."""

SKEW = 60.0
"""Seconds that the clocks of two machines may differ."""

Kind = Literal["build", "removal"]


@dataclass(frozen=True)
class Lease:
    kind: Kind
    host: str
    pid: int
    until: float
    """Seconds since the epoch."""

    @property
    def holder(self) -> str:
        return f"a {self.kind} on {self.host} (process {self.pid})"


def live(dataset: Store, kind: Kind) -> list[Lease]:
    """The leases of one kind that haven't ended."""
    found = []
    for item in dataset.list(layout.LEASES):
        if layout.is_lease(item.path, kind):
            with suppress(FileNotFoundError):
                lease = Lease(**json.loads(dataset.get(item.path)))
                found += [lease] if lease.until + SKEW > time.time() else []
    return found


@contextmanager
def leased(dataset: Store, kind: Kind = "build") -> Iterator[None]:
    """Hold a lease on a dataset while the context is open.

    Raises SetupError where a removal runs beside a build, or anything beside a removal.
    """
    path = layout.lease(kind, time.time(), os.urandom(4).hex())

    def write() -> None:
        lease = Lease(kind, socket.gethostname(), os.getpid(), time.time() + LIFE)
        dataset.put(path, json.dumps(asdict(lease)).encode())

    write()
    try:
        others = live(dataset, "removal") if kind == "build" else live(dataset, "build")
        alone = kind == "build" or len(live(dataset, "removal")) == 1
        if others or not alone:
            holder = others[0].holder if others else "another removal"
            raise SetupError(
                f"{dataset.uri} is in use by {holder}: try again when it has ended; "
                f"if it was killed, in {(LIFE + SKEW) / 60:.0f} minutes"
            )
        # Where the store can't be reached, the next renewal is still in time.
        with BackgroundLoop(write, LIFE / 3):
            yield
    finally:
        with suppress(SetupError):
            dataset.delete([path])
