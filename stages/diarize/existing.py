"""Diarization or transcripts that lie beside a recording: RTTM, STM, CTM, JSON lines."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import DataError

PREFERENCE = ("stm", "jsonl", "rttm", "ctm")
"""Which of several files is taken: those that hold both speakers and words come first."""


@dataclass(frozen=True)
class Stated:
    """A stretch of speech as a file beside the recording states it; times in seconds."""

    start: float
    end: float
    speaker: str
    channel: int
    """From 1."""
    text: str | None = None


def parse(kind: str, text: str, name: str, recording: str, pause: float, longest: float) -> list[Stated]:
    """What a companion file states, in order of start.

    `name` is the file's, for messages; of a file about several recordings the lines that name
    `recording` are taken. Words of a CTM become turns, cut at pauses over `pause` and at `longest`
    seconds. Raises DataError with file and line for a line that can't be read.
    """
    read = {"rttm": _rttm, "stm": _stm, "ctm": _ctm, "jsonl": _jsonl}[kind]
    stated: list[tuple[str, Stated]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith((";;", "#")):
            continue
        try:
            found = read(line)
            if found is not None:
                _check(found[1])
                stated.append(found)
        except (ValueError, KeyError, TypeError) as error:
            what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError("bad_companion", f"{name}, line {number}: {what}") from error
    about = {file for file, _ in stated}
    if len(about) > 1:
        if recording not in about:
            raise DataError(
                "bad_companion", f"{name} is about {len(about)} recordings, none of them {recording}"
            )
        about = {recording}
    kept = sorted((s for file, s in stated if file in about), key=lambda s: (s.start, s.channel, s.end))
    return list(_from_words(kept, pause, longest)) if kind == "ctm" else kept


def _rttm(line: str) -> tuple[str, Stated] | None:
    fields = line.split()
    if fields[0] != "SPEAKER":
        return None
    if len(fields) < 8:
        raise ValueError(f"a SPEAKER line has at least 8 fields, this one {len(fields)}")
    start, seconds = _number(fields[3], "start"), _number(fields[4], "duration")
    return fields[1], Stated(start, start + seconds, fields[7], _channel(fields[2]))


def _stm(line: str) -> tuple[str, Stated] | None:
    """NIST's order and pyannote's differ in the label `<o,f0,male>` before the text alone."""
    fields = line.split(maxsplit=5)
    if len(fields) < 5:
        raise ValueError(f"an STM line has at least 5 fields, this one {len(fields)}")
    text = fields[5] if len(fields) > 5 else ""
    if text.startswith("<") and ">" in text:
        text = text.partition(">")[2].strip()
    if fields[2] == "inter_segment_gap" or text.casefold() == "ignore_time_segment_in_scoring":
        return None
    start, end = _number(fields[3], "start"), _number(fields[4], "end")
    return fields[0], Stated(start, end, fields[2], _channel(fields[1]), text or None)


def _ctm(line: str) -> tuple[str, Stated] | None:
    fields = line.split()
    if len(fields) < 5:
        raise ValueError(f"a CTM line has at least 5 fields, this one {len(fields)}")
    start, seconds = _number(fields[2], "start"), _number(fields[3], "duration")
    channel = _channel(fields[1])
    return fields[0], Stated(start, start + seconds, f"channel_{channel}", channel, fields[4])


def _jsonl(line: str) -> tuple[str, Stated] | None:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("a line is one JSON object")
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise ValueError(f"text is {text!r}, not a string")
    channel = _channel(str(row.get("channel", 1)))
    stated = Stated(
        _number(row["start"], "start"), _number(row["end"], "end"), str(row["speaker"]), channel, text or None
    )
    return "", stated


def _number(value: str | float, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} is {value!r}, not a number of seconds") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} is {value!r}, not a number of seconds")
    return number


def _channel(value: str) -> int:
    if value in ("A", "B"):
        return "AB".index(value) + 1
    if not value.isdigit() or int(value) > 64:
        raise ValueError(f"channel is {value!r}, not a number from 1 (or A, B)")
    return max(1, int(value))


def _check(stated: Stated) -> None:
    if stated.start < 0:
        raise ValueError(f"it starts at {stated.start:g} s, before the recording")
    if stated.end < stated.start:
        raise ValueError(f"it ends at {stated.end:g} s, before it starts at {stated.start:g} s")


def _from_words(words: list[Stated], pause: float, longest: float) -> Iterator[Stated]:
    """Turns from the words of each channel."""
    for channel in sorted({word.channel for word in words}):
        turn: Stated | None = None
        for word in (word for word in words if word.channel == channel):
            if turn and word.start - turn.end <= pause and word.end - turn.start <= longest:
                end = max(turn.end, word.end)
                turn = Stated(turn.start, end, turn.speaker, channel, f"{turn.text} {word.text}")
                continue
            if turn:
                yield turn
            turn = word
        if turn:
            yield turn
