"""What a run shares through a store, where no disk is seen by all of its nodes."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import IO, Protocol


class Named(Protocol):
    @property
    def path(self) -> str: ...


class Objects(Protocol):
    """The objects of a run, by their paths in it. What goes wrong is told as SetupError, with the URI."""

    def list(self, prefix: str) -> Iterable[Named]: ...

    def exists(self, path: str) -> bool: ...

    def open(self, path: str) -> IO[bytes]: ...

    def create(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """An object to write to, which exists completely when the context is closed, or not at all."""

    def put(self, path: str, data: bytes) -> None: ...

    def delete(self, paths: Sequence[str]) -> None: ...


class Remote(Protocol):
    """The store of a run whose folder only the process itself sees."""

    @property
    def objects(self) -> Objects: ...

    @property
    def uri(self) -> str:
        """Where a user finds them."""

    def push(self) -> None:
        """Put the files of the folder that have changed into the store, in the first process."""

    def pull(self, name: str) -> None:
        """Get a file of the folder that the first process has put into the store."""
