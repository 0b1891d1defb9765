"""Recognition of the turns of a recording: in shared windows where that saves time, again where it failed."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.errors import DataError
from schemas.recording import Recording, Word
from schemas.script import UNSPACED
from stages.gpu import halving_on_oom
from stages.stage import SAMPLE_RATE, AudioSource, Samples
from stages.transcribe import measures
from stages.transcribe.languages import WITHOUT_SPACES, sum_in_order
from stages.transcribe.recogniser import Hypothesis, Recogniser
from stages.transcribe.windows import (
    MAX_SECONDS,
    WINDOW_SECONDS,
    Excerpt,
    join,
    owner,
    pack,
    quietest,
    spans,
)

MAX_COMPRESSION_RATIO = 2.4
"""Compression ratio above which text counts as a loop (Whisper, Radford et al. 2022, section 4.5)."""
MIN_LOG_PROBABILITY = -1.0
"""Average log probability below which recognition counts as failed (the same section)."""

Heard = dict[int, Hypothesis | DataError]
"""What was recognised, by the index of the turn, or why it could not be."""


class TurnRecogniser:
    """Recognises turns with `batch` windows at a time.

    Turns of a recording that have the same language share windows. A turn for which that failed (it was
    skipped or truncated, got the words of its neighbour, or is a loop) is recognised again by itself.
    """

    def __init__(self, recogniser: Recogniser, audio: AudioSource, batch: int) -> None:
        self._recogniser = recogniser
        self._audio = audio
        self._batch = batch

    def supports(self, language: str) -> bool:
        """Whether the recogniser has a language, as far as it tells."""
        return self._recogniser.languages is None or language in self._recogniser.languages

    def __call__(self, recording: Recording, excerpts: Sequence[Excerpt], spoken: Mapping[int, str]) -> Heard:
        """Hypothesis for the turn of each excerpt, by its index; times in the recording.

        `spoken` has the language of each turn.
        """
        parts = [part for excerpt in excerpts for part in self._parts(recording, excerpt)]
        numbered = [replace(part, turn=number) for number, part in enumerate(parts)]
        heard = self._recognise(recording, numbered, [spoken[part.turn] for part in parts])
        of_turn: dict[int, list[Hypothesis | DataError]] = {}
        for number, part in enumerate(parts):
            of_turn.setdefault(part.turn, []).append(heard[number])
        return {turn: _joined(hypotheses) for turn, hypotheses in of_turn.items()}

    def _parts(self, recording: Recording, excerpt: Excerpt) -> list[Excerpt]:
        """The excerpt, or parts of it that fit the recogniser's window, cut where it is quiet."""
        parts = []
        while excerpt.seconds > WINDOW_SECONDS:
            begin, end = excerpt.start + 0.8 * MAX_SECONDS, excerpt.start + MAX_SECONDS
            middle = begin + quietest(self._audio.read(recording, excerpt.track, begin, end))
            parts.append(replace(excerpt, end=middle))
            excerpt = replace(excerpt, start=middle)
        return [*parts, excerpt]

    def _recognise(self, recording: Recording, excerpts: Sequence[Excerpt], spoken: Sequence[str]) -> Heard:
        """As `__call__`, for excerpts that fit a window and are numbered by their `turn`."""
        hypotheses: Heard = {}
        for language in sorted(set(spoken)):
            own = [excerpt for excerpt in excerpts if spoken[excerpt.turn] == language]
            windows = pack(own) if self._recogniser.joins_turns else [[excerpt] for excerpt in own]
            hypotheses |= self._windows(recording, windows, language)
            doubtful = [
                [excerpt] for window in windows for excerpt in _doubtful(window, hypotheses, language)
            ]
            hypotheses |= self._windows(recording, doubtful, language)
            loops = [[excerpt] for excerpt in own if _is_loop(hypotheses[excerpt.turn])]
            hypotheses |= self._windows(recording, loops, language, allow_repeats=False)
        return hypotheses

    def _windows(
        self,
        recording: Recording,
        windows: Sequence[list[Excerpt]],
        language: str,
        allow_repeats: bool = True,
    ) -> Heard:
        """Hypotheses of the turns in some windows, by index; times in the recording."""
        by_turn: Heard = {}
        for first in range(0, len(windows), self._batch):
            batch = windows[first : first + self._batch]
            audio = [[self._read(recording, excerpt) for excerpt in window] for window in batch]
            recognised = halving_on_oom(
                lambda some: self._recogniser.recognise(some, language, allow_repeats),
                [join(parts) for parts in audio],
            )
            hypotheses = [hypothesis for some in recognised for hypothesis in some]
            for window, parts, hypothesis in zip(batch, audio, hypotheses, strict=True):
                if isinstance(hypothesis, DataError):
                    by_turn |= dict.fromkeys((excerpt.turn for excerpt in window), hypothesis)
                    continue
                times = spans([len(part) / SAMPLE_RATE for part in parts])
                if self._recogniser.joins_turns:
                    by_turn |= _by_turn(window, times, hypothesis)
                else:
                    by_turn[window[0].turn] = _shifted(hypothesis, window[0].start)
        return by_turn

    def _read(self, recording: Recording, excerpt: Excerpt) -> Samples:
        return self._audio.read(recording, excerpt.track, excerpt.start, excerpt.end)


def _joined(parts: Sequence[Hypothesis | DataError]) -> Hypothesis | DataError:
    """The hypothesis of a turn from those of its parts; the first error if there is one."""
    whole: list[Hypothesis] = []
    for part in parts:
        if isinstance(part, DataError):
            return part
        whole.append(part)
    if len(whole) == 1:
        return whole[0]
    words = [word for part in whole for word in part.words]
    for part in whole[1:]:
        if part.words and not re.match(rf"[\s{UNSPACED}]", part.words[0].text):
            index = words.index(part.words[0])
            words[index] = replace(words[index], text=f" {words[index].text}")
    known = [
        (part.average_log_probability, len(part.words))
        for part in whole
        if part.average_log_probability is not None and part.words
    ]
    count = sum(number for _, number in known)
    no_speech = [part.no_speech_probability for part in whole if part.no_speech_probability is not None]
    return Hypothesis(
        tuple(words),
        sum_in_order(mean * number for mean, number in known) / count if count else None,
        sum_in_order(no_speech) / len(no_speech) if no_speech else None,
    )


def _doubtful(
    window: Sequence[Excerpt], hypotheses: Mapping[int, Hypothesis | DataError], language: str
) -> list[Excerpt]:
    """The excerpts whose recognition failed in a shared window, and those just before one that has words.

    The latter may have lost words to the one that failed.
    """
    if len(window) == 1:
        return []
    failed = [_failed(hypotheses[excerpt.turn], excerpt, language) for excerpt in window]
    may_have_taken = [
        bad and _has_words(hypotheses[excerpt.turn]) for bad, excerpt in zip(failed, window, strict=True)
    ]
    return [window[k] for k in range(len(window)) if failed[k] or any(may_have_taken[k + 1 : k + 2])]


def _has_words(hypothesis: Hypothesis | DataError) -> bool:
    return not isinstance(hypothesis, DataError) and bool(hypothesis.words)


def _failed(hypothesis: Hypothesis | DataError, excerpt: Excerpt, language: str) -> bool:
    """Whether the turn was skipped or truncated, got the words of its neighbour, or is a loop."""
    if isinstance(hypothesis, DataError):
        return False
    rate = measures.letters(hypothesis.text) / excerpt.seconds
    slow, fast = (1.5, 12) if language in WITHOUT_SPACES else (5, 25)
    return (
        not slow <= rate <= fast
        or (hypothesis.average_log_probability or 0.0) < MIN_LOG_PROBABILITY
        or _is_loop(hypothesis)
    )


def _is_loop(hypothesis: Hypothesis | DataError) -> bool:
    if isinstance(hypothesis, DataError):
        return False
    return measures.compression_ratio(hypothesis.text) > MAX_COMPRESSION_RATIO


def _by_turn(
    window: Sequence[Excerpt], times: Sequence[tuple[float, float]], hypothesis: Hypothesis
) -> Heard:
    """The words of a window by turn, with times in the recording. `times` are those of its excerpts."""
    words: list[list[Word]] = [[] for _ in window]
    for word in hypothesis.words:
        k = owner(word.start, word.end, times)
        offset = window[k].start - times[k][0]
        words[k].append(replace(word, start=word.start + offset, end=word.end + offset))
    return {
        excerpt.turn: replace(hypothesis, words=tuple(own), average_log_probability=_mean(own, hypothesis))
        for excerpt, own in zip(window, words, strict=True)
    }


def _shifted(hypothesis: Hypothesis, seconds: float) -> Hypothesis:
    words = (replace(word, start=word.start + seconds, end=word.end + seconds) for word in hypothesis.words)
    return replace(hypothesis, words=tuple(words))


def _mean(words: Sequence[Word], hypothesis: Hypothesis) -> float | None:
    """Mean log probability of a turn's words; that of the window's tokens if it has no words."""
    if not words:
        return hypothesis.average_log_probability
    return sum_in_order(math.log(max(word.probability, 1e-6)) for word in words) / len(words)
