"""JSON Lines: an object per line with start, end and speaker, and perhaps text and channel."""

import json
from collections.abc import Iterator
from typing import Any

from schemas.companions.annotation import UNTIL_THE_END, CompanionEntry, CompanionSegment, channel, number
from schemas.recording import UNKNOWN_SPEAKER
from schemas.text_files import lines

THE_END = "end"
"""What `end` says of a turn that lasts until the end of the recording."""


def json_lines(text: str) -> Iterator[CompanionEntry]:
    """As `aqaa-data export --format jsonl` writes them. If no line names a speaker, somebody speaks.

    An `end` that is the word `end` is that of the recording.
    """
    rows = [(at, _parsed(line)) for at, line in enumerate(lines(text), 1) if line.strip()]
    named = any(isinstance(row, dict) and row.get("speaker") is not None for _, row in rows)
    for at, row in rows:
        try:
            yield CompanionEntry(at, *_entry(row, named))
        except ValueError as error:
            yield CompanionEntry(at, "", None, str(error))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line, strict=False)  # control characters in a string do no harm
    except (ValueError, RecursionError) as error:
        return ValueError(f"it is not valid JSON: {error}")


def _entry(row: Any, named: bool) -> tuple[str, CompanionSegment]:
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError("the line is not a JSON object")
    for field in ("start", "end", "speaker") if named else ("start", "end"):
        if field not in row:
            raise ValueError(f"there is no {field!r}")
    said, speaker, recording = row.get("text"), row.get("speaker"), row.get("recording")
    if said is not None and not isinstance(said, str):
        raise ValueError(f"text is {said!r}, not a string")
    if (speaker is None and named) or isinstance(speaker, dict | list):
        raise ValueError(f"speaker is {speaker!r}, not a name")
    segment = CompanionSegment(
        number(row["start"], "start"),
        UNTIL_THE_END if row["end"] == THE_END else number(row["end"], "end"),
        UNKNOWN_SPEAKER if speaker is None else str(speaker),
        channel(row.get("channel")),
        said or None,
    )
    return recording if isinstance(recording, str) else "", segment
