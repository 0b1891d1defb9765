"""The cost of requests, the budget that limits it, and the cache of replies that are already paid for."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Protocol

from pydantic import Field

from schemas.errors import DataError
from stages.stage import Config


@dataclass(frozen=True)
class Cost:
    requests: int = 0
    tokens: int = 0
    """Tokens of prompts and answers."""
    characters: int = 0
    """Characters sent."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


class Budget(Config):
    """Limits for a dataset's requests to one server, cached replies included; null: no limit."""

    requests: int | None = Field(None, ge=0, description="requests, including retries")
    tokens: int | None = Field(None, ge=0, description="tokens of prompts and answers")
    characters: int | None = Field(None, ge=0, description="characters sent")


class BudgetTracker:
    """Keeps track of a budget. The maximum cost of a request is reserved before it is sent."""

    def __init__(self, budget: Budget, spent: Cost) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._reserved = Cost()
        self.spent = spent

    @contextmanager
    def reserve(self, max_cost: Cost) -> Iterator["Charge"]:
        """Reserve the maximum cost of a request, and charge its actual cost at the end.

        Raises DataError `budget` if less than the maximum is left.
        """
        charge = Charge(max_cost)
        with self._lock:
            after = self.spent + self._reserved + max_cost
            for name, limit in self._budget:
                if limit is not None and getattr(after, name) > limit:
                    raise DataError(
                        "budget", f"the budget of {limit:,} {name} does not allow another request"
                    )
            self._reserved += max_cost
        try:
            yield charge
        finally:
            with self._lock:
                self._reserved -= max_cost
                self.spent += charge.cost


@dataclass
class Charge:
    cost: Cost
    """The maximum cost until the actual cost is known."""


class ReplyStore(Protocol):
    """Storage of cached replies: objects that are written once."""

    def get(self, path: str) -> bytes: ...
    def put_new(self, path: str, data: bytes) -> bool: ...
    def list(self, prefix: str = "") -> Iterator[Any]: ...


_NAME = re.compile(r"([0-9a-f]{64})-(\d+)-(\d+)-(\d+)$")


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
                self.spent += Cost(*map(int, match.groups()[1:]))

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
        self._store.put_new(name, reply)
        self._names[request] = name
