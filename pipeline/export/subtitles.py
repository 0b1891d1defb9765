"""Subtitles of the turns with text: SubRip, which has no speakers, and WebVTT."""

from collections.abc import Iterable, Iterator

from pipeline.versions.inspect import Row


def srt(_name: str, rows: Iterable[Row]) -> Iterator[str]:
    """Numbered cues. An arrow in a text is written `->`, since `-->` marks the times."""
    for number, (row, text) in enumerate(_cues(rows), 1):
        times = f"{_time(row['start'], ',')} --> {_time(row['end'], ',')}"
        yield f"{number}\n{times}\n{text.replace('-->', '->')}\n"


def vtt(_name: str, rows: Iterable[Row]) -> Iterator[str]:
    """Cues whose voice is the speaker."""
    yield "WEBVTT\n"
    for row, text in _cues(rows):
        times = f"{_time(row['start'], '.')} --> {_time(row['end'], '.')}"
        yield f"{times}\n<v {_escaped(row['speaker'])}>{_escaped(text)}\n"


def _cues(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    for row in rows:
        if text := " ".join((row["text"] or "").split()):
            yield row, text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, point: str) -> str:
    """Hours, minutes and seconds to the millisecond."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"
