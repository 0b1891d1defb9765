"""The event log of a build for machines: JSON lines, one event each, with the unit that it is about."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.monitoring.progress import UnitReport
from schemas.errors import SetupError


class EventLog:
    """Appends to a file; without a path, nothing is written."""

    def __init__(self, path: str | None) -> None:
        """Raises SetupError if the file can't be written."""
        try:
            self._file = Path(path).open("a", encoding="utf-8") if path else None  # noqa: SIM115
        except OSError as error:
            raise SetupError(f"can't write the log {path}: {error.strerror}") from error

    def write(self, event: str, at: float | None = None, **facts: Any) -> None:
        """Append one event; `at` is in seconds since the epoch (default: now)."""
        if self._file is None:
            return
        when = datetime.fromtimestamp(at, UTC) if at is not None else datetime.now(UTC)
        line = {"time": when.isoformat(timespec="milliseconds"), "event": event} | facts
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def unit(self, report: UnitReport) -> None:
        """Append the report of a stage on a unit."""
        facts = asdict(report)
        rounded = {name: round(v, 3) if isinstance(v, float) else v for name, v in facts.items()}
        self.write("unit", rounded.pop("at"), **rounded)
