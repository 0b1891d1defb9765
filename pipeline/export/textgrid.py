"""Praat's TextGrid: a tier of intervals for each speaker, of the turns with text."""

from collections.abc import Iterable, Iterator

from pipeline.versions.inspect import Row


def textgrid(_name: str, rows: Iterable[Row]) -> Iterator[str]:
    """The long form. Where turns of a speaker overlap, a second tier has the same name: one tier can't."""
    tiers: list[tuple[str, list[Row]]] = []
    length = 0.0
    for row in rows:
        length = max(length, row["end"])
        if not (row["text"] or "").strip():
            continue
        for speaker, turns in tiers:
            if speaker == row["speaker"] and turns[-1]["end"] <= row["start"]:
                turns.append(row)
                break
        else:
            tiers.append((row["speaker"], [row]))
    yield 'File type = "ooTextFile"\nObject class = "TextGrid"\n'
    yield f"xmin = 0\nxmax = {_seconds(length)}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:"
    for number, (speaker, turns) in enumerate(tiers, 1):
        intervals = list(_intervals(turns, length))
        yield f'    item [{number}]:\n        class = "IntervalTier"\n        name = {_quoted(speaker)}'
        yield f"        xmin = 0\n        xmax = {_seconds(length)}"
        yield f"        intervals: size = {len(intervals)}"
        for index, (start, end, text) in enumerate(intervals, 1):
            yield f"        intervals [{index}]:\n            xmin = {_seconds(start)}"
            yield f"            xmax = {_seconds(end)}\n            text = {_quoted(text)}"


def _intervals(turns: Iterable[Row], length: float) -> Iterator[tuple[float, float, str]]:
    """(start, end, text) without gaps from 0 to `length`: silence has an empty text."""
    last = 0.0
    for turn in turns:
        if turn["start"] > last:
            yield last, turn["start"], ""
        yield turn["start"], turn["end"], " ".join(turn["text"].split())
        last = turn["end"]
    if last < length:
        yield last, length, ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
