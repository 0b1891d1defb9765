"""What one sample is made of: turns of a recording, or a text with or without speech."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.arrow import to_row
from schemas.errors import DataError
from schemas.hashing import hash_fraction
from schemas.layout import whole_groups
from schemas.sample import Clip, Message, Speech, Text
from schemas.turn import AnnotatedTurn, recording_key
from stages.compose.instructions import Phrasings
from stages.compose.labels import Labels

UNSPACED = {"zh", "yue", "ja", "th", "lo", "my", "km"}
"""Languages written without spaces."""


@dataclass(frozen=True)
class SourceSpan:
    """What somebody says: the words, and the turn where it is spoken, by a person or by synthesis."""

    words: str
    turn: AnnotatedTurn | None = None
    labels: Labels = field(default_factory=dict)

    @property
    def text(self) -> Text:
        """Raises DataError `no_text`."""
        if not self.words:
            raise DataError("no_text", "the turn has no words")
        return Text(self.words)

    @property
    def speech(self) -> Speech:
        """Raises DataError `no_speech` where it is text alone, `no_codes` where the turn is too short."""
        if self.turn is None:
            raise DataError("no_speech", "it is not spoken")
        codes = whole_groups(self.turn.codes) if self.turn.codes else None
        if codes is None or not codes.linguistic:
            raise DataError("no_codes", "the turn is too short for a group of audio tokens")
        turn = self.turn.turn
        clip = Clip(self.turn.recording, turn.track, turn.start, turn.end)
        return Speech(codes, clip, self.turn.index, turn.speaker, self.words or None)


@dataclass(frozen=True)
class SampleSource:
    """The last answer, and what led to it."""

    key: str
    """Begins the sample's key: [a-z0-9-], at most 80 characters."""
    answer: tuple[SourceSpan, ...]
    """One, or the spans of a controlled answer in order."""
    language: str | None
    """ISO 639-1."""
    place: dict[str, Any]
    """Where it comes from: `recording` and what says where in it."""
    metadata: dict[str, Any]
    """Sidecar of the recording, or what a row of text says besides its text."""
    question: SourceSpan | None = None
    history: tuple[Message, ...] = ()
    """Earlier turns as text, the oldest first, from a human to an assistant."""
    system: str | None = None

    def drawn(self, phrasings: Phrasings, draw: str) -> str | None:
        """One of the phrasings in the source's language, the same for the same `draw`; None without any."""
        choice = phrasings.get(self.language or "en") or phrasings.get("en") or ()
        return choice[int(hash_fraction(draw, bits=48) * len(choice))] if choice else None

    @property
    def turns(self) -> tuple[int, ...]:
        """Indices, within their recording, of the turns that question and answer are spoken in."""
        said = (self.question, *self.answer)
        return tuple(one.turn.index for one in said if one is not None and one.turn is not None)

    def record(self) -> dict[str, Any]:
        """What the sample's record says of its source."""
        said = [one for one in (self.question, *self.answer) if one is not None and one.turn is not None]
        return {
            "speakers": sorted({one.turn.turn.speaker for one in said if one.turn}),
            "language": self.language,
            "source": self.place,
            "turns": [_measures(one.turn, one.labels) for one in said if one.turn],
            "sidecar": self.metadata,
        }


def of_turns(
    answer: Sequence[AnnotatedTurn],
    question: AnnotatedTurn | None = None,
    history: Sequence[AnnotatedTurn] = (),
    labels: Mapping[int, Labels] | None = None,
) -> SampleSource:
    """A source of turns of one recording; `history` are those of asker and answerer before the question."""
    last = answer[-1]
    turns = [*([question] if question else []), *answer]
    place = {
        "recording": last.recording,
        "start": min(turn.turn.start for turn in turns),
        "end": max(turn.turn.end for turn in turns),
        "sample_rate": last.decoded.sample_rate,
        "channel_mode": last.decoded.channel_mode,
    }
    said = {turn.index: _said(turn, (labels or {}).get(turn.index, {})) for turn in turns}
    return SampleSource(
        key="-".join([recording_key(last.recording), *(f"{turn.index:05d}" for turn in turns)]),
        answer=tuple(said[turn.index] for turn in answer),
        language=last.transcript.language if last.transcript else None,
        place=place,
        metadata=last.metadata,
        question=said[question.index] if question else None,
        history=_messages(history, question) if question else (),
    )


def joint(language: str | None) -> str:
    """What stands between two pieces of text in a language."""
    return "" if language in UNSPACED else " "


def _said(turn: AnnotatedTurn, labels: Labels) -> SourceSpan:
    return SourceSpan(turn.transcript.text.strip() if turn.transcript else "", turn, labels)


def _messages(history: Sequence[AnnotatedTurn], question: AnnotatedTurn) -> tuple[Message, ...]:
    """Turns as messages of asker and answerer by turns, the first of them the asker's."""
    merged: list[tuple[str, str]] = []
    for turn in history:
        role = "human" if turn.turn.speaker == question.turn.speaker else "assistant"
        said = _said(turn, {}).words
        if merged and merged[-1][0] == role:
            between = joint(turn.transcript.language if turn.transcript else None)
            merged[-1] = (role, merged[-1][1] + between + said)
        elif merged or role == "human":
            merged.append((role, said))
    return tuple(Message(role, (Text(text),)) for role, text in merged)


def _measures(turn: AnnotatedTurn, labels: Labels) -> dict[str, Any]:
    transcript = to_row(turn.transcript)
    if transcript is not None:
        del transcript["words"]  # turns.parquet has them
    place = {name: getattr(turn.turn, name) for name in ("start", "end", "speaker", "track")}
    measured = {"transcript": transcript, "assessment": to_row(turn.assessment), "labels": dict(labels)}
    return {"index": turn.index, **place, **measured}
