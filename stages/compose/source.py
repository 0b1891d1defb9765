"""The source of one sample: turns of a recording, or a text with or without speech."""

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
from stages.compose.labels import Labels, LabelsConfig, claimed_labels, heard_labels


def written_as(language: str | None) -> str:
    """The language of the instructions for speech in a language (ISO 639): Cantonese has those of Chinese."""
    return "zh" if language == "yue" else language or "en"


UNSPACED_LANGUAGES = {"zh", "yue", "ja", "th", "lo", "my", "km"}
"""Languages that are written without spaces between words (ISO 639)."""


@dataclass(frozen=True)
class SourceSpan:
    """A span of text, and the turn in which it is spoken, if any, by a person or by speech synthesis."""

    words: str
    turn: AnnotatedTurn | None = None
    labels: Labels = field(default_factory=dict)

    @property
    def text(self) -> Text:
        """The words as text. Raises DataError `no_text` if there are none."""
        if not self.words:
            raise DataError("no_text", "the turn has no words")
        return Text(self.words)

    @property
    def speech(self) -> Speech:
        """The spoken span, in whole groups of codes.

        Raises:
            DataError: `no_speech` if there is no turn, `no_codes` if it is shorter than one group of codes.
        """
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
    """An answer, with the question and the conversation that precede it."""

    key: str
    """Prefix of the sample's key: [a-z0-9-], at most 80 characters."""
    answer: tuple[SourceSpan, ...]
    """One span, or the spans of a `controlled` answer in order."""
    language: str | None
    """ISO 639-1."""
    origin: dict[str, Any]
    """Where the sample comes from: the `recording` and the position in it."""
    metadata: dict[str, Any]
    """Sidecar of the recording, or the fields of a text row other than its text."""
    question: SourceSpan | None = None
    history: tuple[Message, ...] = ()
    """Earlier turns as text, oldest first; the first message is human, the last one from the assistant."""
    system: str | None = None

    def choose(self, phrasings: Phrasings, key: str) -> str | None:
        """One of the phrasings in the source's language, chosen by the hash of `key`; None if it has none."""
        choices = phrasings.get(written_as(self.language)) or phrasings.get("en") or ()
        return choices[int(hash_fraction(key, bits=48) * len(choices))] if choices else None

    @property
    def turns(self) -> tuple[int, ...]:
        """Indices, within their recording, of the turns in which the question and the answer are spoken."""
        spans = (self.question, *self.answer)
        return tuple(span.turn.index for span in spans if span is not None and span.turn is not None)

    @property
    def asks_aloud(self) -> bool:
        """Whether the spoken question itself asks for the way to speak."""
        synthesis = self.metadata.get("synthesis")
        return self.question is not None and isinstance(synthesis, dict) and "instruction" in synthesis

    def record(self, limits: LabelsConfig) -> dict[str, Any]:
        """The part of the sample's record that describes its source; `limits` are for measured labels."""
        spans = (self.question, *self.answer)
        spoken = [(span.turn, span.labels) for span in spans if span is not None and span.turn is not None]
        return {
            "speakers": sorted({turn.turn.speaker for turn, _ in spoken}),
            "language": self.language,
            "source": self.origin,
            "turns": [_turn_record(turn, labels, limits) for turn, labels in spoken],
            "sidecar": self.metadata,
        }


def of_turns(
    answer: Sequence[AnnotatedTurn],
    question: AnnotatedTurn | None = None,
    history: Sequence[AnnotatedTurn] = (),
    labels: Mapping[int, Labels] | None = None,
) -> SampleSource:
    """Build a source from turns of one recording.

    Args:
        answer: the turns of the answer, in order.
        question: the turn that is answered, if any.
        history: earlier turns of the two speakers, in order.
        labels: turn index -> labels.
    """
    last = answer[-1]
    turns = [*([question] if question else []), *answer]
    origin = {
        "recording": last.recording,
        "start": min(turn.turn.start for turn in turns),
        "end": max(turn.turn.end for turn in turns),
        "sample_rate": last.decoded.sample_rate,
        "channel_mode": last.decoded.channel_mode,
    }
    spans = {turn.index: _span(turn, (labels or {}).get(turn.index, {})) for turn in turns}
    return SampleSource(
        key="-".join([recording_key(last.recording), *(f"{turn.index:05d}" for turn in turns)]),
        answer=tuple(spans[turn.index] for turn in answer),
        language=last.transcript.language if last.transcript else None,
        origin=origin,
        metadata=last.metadata,
        question=spans[question.index] if question else None,
        history=_history_messages(history, question) if question else (),
    )


def word_separator(language: str | None) -> str:
    """The separator between two pieces of text in a language (ISO 639-1): a space or nothing."""
    return "" if language in UNSPACED_LANGUAGES else " "


def _span(turn: AnnotatedTurn, labels: Labels) -> SourceSpan:
    return SourceSpan(turn.transcript.text.strip() if turn.transcript else "", turn, labels)


def _history_messages(history: Sequence[AnnotatedTurn], question: AnnotatedTurn) -> tuple[Message, ...]:
    """Earlier turns as alternating messages, starting with the speaker of the question (`human`).

    Consecutive turns of one speaker are merged into one message.
    """
    merged: list[tuple[str, str]] = []
    for turn in history:
        role = "human" if turn.turn.speaker == question.turn.speaker else "assistant"
        words = _span(turn, {}).words
        if merged and merged[-1][0] == role:
            separator = word_separator(turn.transcript.language if turn.transcript else None)
            merged[-1] = (role, merged[-1][1] + separator + words)
        elif merged or role == "human":
            merged.append((role, words))
    return tuple(Message(role, (Text(text),)) for role, text in merged)


def _turn_record(turn: AnnotatedTurn, labels: Labels, limits: LabelsConfig) -> dict[str, Any]:
    transcript = to_row(turn.transcript)
    if transcript is not None:
        del transcript["words"]  # stored in turns.parquet
    position = {name: getattr(turn.turn, name) for name in ("start", "end", "speaker", "track")}
    measured = {"transcript": transcript, "assessment": to_row(turn.assessment), "labels": dict(labels)}
    corrected = {"corrected_from": to_row(turn.corrected_from)} if turn.corrected_from else {}
    heard = heard_labels(turn, limits)
    style = {"asked": dict(claimed_labels(turn, limits)), "heard": dict(heard)} if heard else {}
    return {"index": turn.index, **position, **measured, **style, **corrected}
