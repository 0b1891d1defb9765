"""Leases: how builds and removals exclude each other in one dataset.

A lease is a small object that its holder renews; without renewals, because its holder was killed, it expires.
A build and a removal both write their own lease before they look for others, so that of two that start at the
same time at least one sees the other.
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
"""Seconds until a lease expires; it is renewed three times in that time."""

SKEW = 60.0
"""Maximum difference of the clocks of two machines, in seconds."""

ABANDONED = 86_400.0
"""Seconds after its end when a lease is deleted: nobody renews it any more, not even a suspended machine."""

LeaseKind = Literal["build", "removal"]


@dataclass(frozen=True)
class Lease:
    kind: LeaseKind
    host: str
    pid: int
    until: float
    """Seconds since the epoch."""

    @property
    def holder(self) -> str:
        return f"a {self.kind} on {self.host} (process {self.pid})"


def live(dataset: Store, kind: LeaseKind) -> list[Lease]:
    """The leases of one kind that haven't expired."""
    now = time.time()
    return [lease for _, lease in _leases(dataset, kind) if lease.until + SKEW > now]


def _leases(dataset: Store, kind: LeaseKind) -> Iterator[tuple[str, Lease]]:
    for item in dataset.list(layout.LEASES):
        if layout.is_lease(item.path, kind):
            with suppress(FileNotFoundError):  # its holder has just ended
                yield item.path, Lease(**json.loads(dataset.get(item.path)))


def _delete_abandoned(dataset: Store) -> None:
    """Delete the leases of builds and removals that were killed long ago.

    Not those that have only just expired: their holder may be slow, and renew them after all.
    """
    limit = time.time() - SKEW - ABANDONED
    kinds: tuple[LeaseKind, ...] = ("build", "removal")
    dataset.delete([path for kind in kinds for path, lease in _leases(dataset, kind) if lease.until < limit])


@contextmanager
def leased(dataset: Store, kind: LeaseKind = "build") -> Iterator[None]:
    """Hold a lease on a dataset while the context is open.

    Deletes leases that were abandoned. Raises SetupError if a build is running and this is a removal, or if a
    removal is running.
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
                f"{dataset.uri} is in use by {holder}: run the command again when it has ended; "
                f"if it was killed, in {(LIFE + SKEW) / 60:.0f} minutes"
            )
        _delete_abandoned(dataset)
        # If the store can't be reached for once, the next renewal is still in time.
        with BackgroundLoop(write, LIFE / 3):
            yield
    finally:
        with suppress(SetupError):
            dataset.delete([path])
