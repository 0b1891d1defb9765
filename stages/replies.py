"""The cost of requests to a server, and the cache of replies that are already paid for."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol


@dataclass(frozen=True)
class Cost:
    requests: int = 0
    tokens: int = 0
    """Tokens of prompts and answers."""
    characters: int = 0
    """Characters sent."""
    seconds: int = 0
    """Seconds of audio sent, each request rounded up."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


class ReplyStore(Protocol):
    """Storage of cached replies: objects that are written once."""

    def get(self, path: str) -> bytes: ...
    def put_new(self, path: str, data: bytes) -> bool: ...
    def list(self, prefix: str = "") -> Iterator[Any]: ...


_NAME = re.compile(r"([0-9a-f]{64})-(\d+)-(\d+)-(\d+)(?:-(\d+))?$")


class Replies:
    """Cached replies by the hash of their request. Their file names include their cost."""

    def __init__(self, store: ReplyStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._names: dict[str, str] = {}
        self.spent = Cost()
        for file in store.list(folder):
            if match := _NAME.search(file.path):
                self._names.setdefault(match[1], file.path)
                self.spent += Cost(*(int(number or 0) for number in match.groups()[1:]))

    def get(self, request: str) -> bytes | None:
        name = self._names.get(request)
        return None if name is None else self._store.get(name)

    def discarded(self) -> list[str]:
        """Paths of all replies, for the caller to delete. Stores their total cost, which still
        counts towards the budget."""
        paths = sorted(file.path for file in self._store.list(self._folder))
        if paths:
            digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()
            self.put(digest, b"", self.spent)
        return paths

    def put(self, request: str, reply: bytes, cost: Cost) -> None:
        name = f"{self._folder}/{request}-{cost.requests}-{cost.tokens}-{cost.characters}"
        name += f"-{cost.seconds}" * bool(cost.seconds)
        self._store.put_new(name, reply)
        self._names[request] = name
