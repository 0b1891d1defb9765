"""Work that repeats in a background thread while something else runs: renewing a lease, showing progress."""

import logging
import threading
from collections.abc import Callable

_LOG = logging.getLogger("aqaa_data.background")


class BackgroundLoop:
    """Calls a function every few seconds in a daemon thread, from `start` to `stop`, or inside `with`.

    The first round starts `seconds` after the start. An exception in a round is logged at level DEBUG and
    the next round tries again: an action whose errors mean more handles them itself.

        with BackgroundLoop(renew, seconds=100.0):
            build()
    """

    def __init__(
        self,
        action: Callable[[], object],
        seconds: float,
        patience: float | None = None,
        final_round: bool = False,
    ) -> None:
        """`patience`: how many seconds `stop` waits for a round in progress; None waits until it ends.

        `final_round`: `stop` calls the action once more, in the thread of its caller.
        """
        self._action = action
        self._seconds = seconds
        self._patience = patience
        self._final_round = final_round
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called; a round in progress can read it before it acts."""
        return self._stopped.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(self._patience)
        if self._final_round:
            self._round()

    def __enter__(self) -> "BackgroundLoop":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._round()

    def _round(self) -> None:
        try:
            self._action()
        except Exception:
            _LOG.debug("a round of background work failed", exc_info=True)
