"""The budget that limits what is requested from a server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import Field

from schemas.errors import DataError
from stages.replies import Cost
from stages.stage import Config


class Budget(Config):
    """Limits for a dataset's requests to one server, cached replies included; null: no limit."""

    requests: int | None = Field(None, ge=0, description="requests, including retries")
    tokens: int | None = Field(None, ge=0, description="tokens of prompts and answers")
    characters: int | None = Field(None, ge=0, description="characters sent")
    seconds: int | None = Field(None, ge=0, description="seconds of audio sent")


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
