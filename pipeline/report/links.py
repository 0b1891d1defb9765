"""Links to turns on the page of `aqaa-data browse`, which people open beside a report."""

from schemas.turn import recording_key

BROWSE_PORT = 8091
"""Where `aqaa-data browse` listens unless it is told otherwise."""


def turn_link(recording: str, index: int) -> str:
    """The address of a turn on the page, where that shows the version."""
    return f"http://127.0.0.1:{BROWSE_PORT}/#turn={recording_key(recording)}-{index:05d}"
