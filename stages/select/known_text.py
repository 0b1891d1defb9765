"""What is known to be said in a turn, and how far it differs from what a recogniser hears.

A text is known from the companion that states the turns, or from the sidecar: `lyrics`, or the text of the
recording (`text`, `transcript`, ..). That of a sidecar is about the whole recording, so each turn is looked
up in it by itself: a line may be sung more often than it is written, and only in part.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.companions import said_in, without_times
from schemas.recording import Problem
from schemas.script import script_of
from schemas.speech_marks import without_marks
from schemas.turn import AnnotatedTurn
from stages.word_errors import errors, in_characters, normaliser

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")


def with_known_text(turn: AnnotatedTurn) -> AnnotatedTurn:
    """The turn with its known text and the error rate of what is heard, where both are there."""
    transcript = turn.transcript
    if transcript is None:
        return turn
    if transcript.heard_text is not None:
        known, heard = transcript.text, transcript.heard_text
    elif transcript.source == "model":
        known, heard = turn.turn.text or "", transcript.recognised_text or transcript.text
    else:  # nobody but a person or a file says what is heard
        return turn
    rate: float | None
    if known:
        found = errors(transcript.language, known, heard)
        rate = found.wrong / found.of if found else None
    elif place := look_up(heard, text_in(turn.metadata), transcript.language):
        known, rate = place.text, place.error_rate
    else:
        return turn
    return replace(turn, transcript=replace(transcript, known_text=known, known_text_error=rate))


def text_in(sidecar: Mapping[str, Any]) -> str:
    """The text that a sidecar gives for the whole recording, lyrics first; empty if it gives none."""
    lyrics = sidecar.get("lyrics")
    return lyrics if isinstance(lyrics, str) and lyrics.strip() else said_in(sidecar)[0]


def bad_lyrics(sidecar: Mapping[str, Any]) -> Problem | None:
    """What is wrong with the lyrics of a sidecar, if anything."""
    lyrics = sidecar.get("lyrics")
    if lyrics in (None, "") or (isinstance(lyrics, str) and without_times(lyrics)):
        return None
    what = "hold no words" if isinstance(lyrics, str) else f"are {type(lyrics).__name__}, not a text"
    return Problem(
        "bad_lyrics", f"the sidecar's lyrics {what}: write them as one text, with or without times (LRC)"
    )


def other_language(turn: AnnotatedTurn) -> str | None:
    """How the text that came with a recording is in another language than what is heard, as a sentence; None
    where that can't be told: languages of one script differ only where the sidecar names its own."""
    transcript = turn.transcript
    if transcript is None:
        return None
    given = transcript.text if transcript.heard_text is not None else turn.turn.text or text_in(turn.metadata)
    heard = transcript.heard_text or transcript.recognised_text or transcript.text
    scripts = script_of(given), script_of(heard)
    named = turn.metadata.get("language")
    if None not in scripts and scripts[0] != scripts[1]:
        differ = f"is in {scripts[0]}, and what is heard in {scripts[1]}"
    elif isinstance(named, str) and named and named[:2] != transcript.language[:2]:
        differ = f"is in {named} by the sidecar, and what is heard in {transcript.language}"
    else:
        return None
    return (
        f"the text that came with the recording {differ}: give the words that are sung or spoken, not a "
        "translation, or name a recogniser that knows the language"
    )


@dataclass(frozen=True)
class KnownPlace:
    """Where in a known text something is said."""

    text: str
    """Its lines there, or sentences; empty if nothing in it is like what is heard."""
    error_rate: float
    """Errors by the words (characters) that are heard, 0 to 1."""


def look_up(heard: str, text: str, language: str) -> KnownPlace | None:
    """The place in a text that is most like what is heard; None if one of them has no words."""
    lines, words, line_of = _known(text, language)
    said = _words(heard, language, in_characters(text))
    if not words or not said:
        return None
    ids = {word: number for number, word in enumerate({*words, *said})}
    known_ids, said_ids = ([ids[word] for word in side] for side in (words, said))
    # To the most similar end from any start, then back from there to the most similar start.
    forwards = _distances(said_ids, known_ids, anywhere=True)
    end = int(np.argmin(forwards))
    backwards = _distances(said_ids[::-1], known_ids[:end][::-1], anywhere=False)
    start = end - int(np.argmin(backwards))
    there = lines[line_of[start] : line_of[end - 1] + 1] if start < end else []
    return KnownPlace(" ".join(there), int(forwards[end]) / len(said))


@lru_cache(maxsize=8)
def _known(text: str, language: str) -> tuple[list[str], list[str], list[int]]:
    """Lines of a text, its words, and the line of each word."""
    lines = [part for line in without_times(text) for part in _SENTENCE.split(line) if part]
    by_line = [_words(line, language, in_characters(text)) for line in lines]
    line_of = [number for number, words in enumerate(by_line) for _ in words]
    return lines, [word for words in by_line for word in words], line_of


def _words(text: str, language: str, characters: bool) -> list[str]:
    words = normaliser(language)(without_marks(text)).split()
    return list("".join(words)) if characters else words


def _distances(said: Sequence[int], known: Sequence[int], anywhere: bool) -> NDArray[np.int64]:
    """Edit distance of `said` to what precedes each place of `known`, [known + 1]: all of it, or with
    `anywhere` the most similar stretch that ends there (Sellers, 1980)."""
    places = np.arange(len(known) + 1)
    row = np.zeros_like(places) if anywhere else places
    others = np.array(known, np.int64)
    for count, word in enumerate(said, 1):
        changed = np.minimum(row[:-1] + (others != word), row[1:] + 1)
        # A word of `known` that isn't said costs 1 from any place before it.
        row = np.minimum.accumulate(np.concatenate([[count], changed]) - places) + places
    return row
