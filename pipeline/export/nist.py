"""The formats of NIST's scoring tools: RTTM (speakers), STM (speakers and text), CTM (words)."""

from collections.abc import Iterable, Iterator

from pipeline.export.names import field
from pipeline.versions.inspect import Row


def rttm(name: str, rows: Iterable[Row]) -> Iterator[str]:
    """NIST Rich Transcription Time Marked, one SPEAKER line per turn."""
    for row in rows:
        start, seconds = row["start"], row["end"] - row["start"]
        yield (
            f"SPEAKER {field(name)} {channel(row)} {start:.3f} {seconds:.3f} <NA> <NA> "
            f"{field(row['speaker'])} <NA> <NA>"
        )


def stm(name: str, rows: Iterable[Row]) -> Iterator[str]:
    """NIST segment time marks as sclite reads them; the label is `kept`, or why a turn was set aside."""
    for row in rows:
        label = (
            f"set_aside,{row['stage']}/{row['code']}"
            if row["status"] == "set_aside"
            else f"kept,{row['status']}"
        )
        text = " ".join((row["text"] or "").split())
        yield (
            f"{field(name)} {channel(row)} {field(row['speaker'])} {row['start']:.3f} {row['end']:.3f} "
            f"<{label}> {text}"
        ).rstrip()


def ctm(name: str, rows: Iterable[Row]) -> Iterator[str]:
    """Time-marked conversation: `file channel start duration word confidence type speaker`, one line per word
    whose times are known."""
    for row in rows:
        for word in (row["transcript"] or {}).get("words") or ():
            seconds = word["end"] - word["start"]
            yield (
                f"{field(name)} {channel(row)} {word['start']:.3f} {seconds:.3f} "
                f"{field(word['text'].strip())} {word['probability']:.3f} lex {field(row['speaker'])}"
            )


def channel(row: Row) -> int:
    """The channel of the recording, from 1; versions of earlier releases only know the track."""
    return int(row.get("channel") or row["track"] + 1)
