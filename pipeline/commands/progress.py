"""Progress of a command whose work has no display of its own."""

import time

import click

PROGRESS_SECONDS = 10.0
"""Least time between lines of progress."""


class Progress:
    """Prints lines of progress on stderr, but not too often."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, line: str) -> None:
        if time.monotonic() - self._last > PROGRESS_SECONDS:
            self._last = time.monotonic()
            click.echo(line, err=True)
