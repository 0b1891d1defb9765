"""The transcribe stage: text, language, word times and reliability measures of each turn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.companions import CompanionAnnotation, by_preference, read
from schemas.errors import DataError, SetupError
from schemas.recording import (
    CompanionUse,
    Problem,
    Recording,
    TranscribeColumn,
    Transcript,
    Turn,
    Unit,
    Word,
)
from stages.stage import SAMPLE_RATE, Samples, Stage
from stages.transcribe import measures
from stages.transcribe.config import TranscribeConfig
from stages.transcribe.existing import words_of_turns
from stages.transcribe.languages import WITHOUT_SPACES, languages, sum_in_order
from stages.transcribe.recogniser import Hypothesis, Recogniser
from stages.transcribe.text import clean, script_converter
from stages.transcribe.windows import Excerpt, excerpts, join, owner, pack, spans

LANGUAGE_SECONDS = 30.0
"""Minimum of audio in seconds, silence included, to detect the languages of a recording: the fewer turns it
has, the more is used per turn."""
MAX_COMPRESSION_RATIO = 2.4
"""Compression ratio above which text counts as a loop (Whisper, Radford et al. 2022, section 4.5)."""
MIN_LOG_PROBABILITY = -1.0
"""Average log probability below which recognition counts as failed (the same section)."""


@dataclass(frozen=True)
class _GivenWords:
    """What the CTM companion of a recording says, and the record of its use."""

    annotation: CompanionAnnotation | None = None
    companions: tuple[CompanionUse, ...] = ()
    lines: tuple[Problem, ...] = ()
    """Its lines that were set aside."""


class TranscribeStage(Stage[TranscribeConfig]):
    """Fills `Recording.transcribe`. Each thread holds `batch` windows of 30 s in memory at a time.

    Turns of a recording that have the same language share windows. A turn for which that failed (it was
    skipped or truncated, got the words of its neighbour, or is a loop) is recognised again by itself.
    """

    name = "transcribe"
    version = 3
    memory_settings = ("transcribe.batch", "transcribe.beam")

    def _load_models(self) -> None:
        """Load the recogniser. Raises SetupError for a model that can't be loaded or a language it lacks."""
        config = self._config
        path = self._models[config.model]
        self._recogniser = Recogniser(path, config.device, config.compute_type, config.beam, self._threads)
        if config.language not in (None, *self._recogniser.languages):
            raise SetupError(
                f"transcribe: {config.model} does not support the language {config.language!r}, only "
                f"{', '.join(self._recogniser.languages)}"
            )
        supported = self._recogniser.languages
        self._only_language = supported[0] if len(supported) == 1 else None
        self._to_script = script_converter(config.chinese_script)

    def __call__(self, unit: Unit) -> Unit:
        """The unit with a transcript for every live turn that has words."""
        return self._each_recording(unit, self._transcribe, lambda problems: TranscribeColumn((), problems))

    def _transcribe(self, recording: Recording) -> TranscribeColumn:
        turns, live = recording.turns, recording.live_turns()
        spoken = self._languages(recording, live)
        given = self._words(recording)
        existing = self._existing(recording, live, given.annotation)
        transcripts: list[Transcript | None] = [None] * len(turns)
        for index, (text, words, source) in existing.items():
            transcripts[index] = self._transcript(turns[index], text, words, source, *spoken[index], None)
        missing = excerpts(turns, [index for index in live if index not in existing])
        for index, hypothesis in self._recognise(recording, missing, spoken).items():
            transcripts[index] = self._transcript(
                turns[index], hypothesis.text, hypothesis.words, "model", *spoken[index], hypothesis
            )
        problems = [*given.lines]
        for index in live:
            transcript = transcripts[index]
            if transcript is None or transcript.longest_word == 0:
                transcripts[index] = None
                problems.append(Problem("no_words", "no words are heard in this turn", index))
        return TranscribeColumn(tuple(transcripts), tuple(problems), given.companions)

    def _languages(self, recording: Recording, live: Sequence[int]) -> dict[int, tuple[str, float]]:
        """(language, probability) of each live turn."""
        fixed = self._config.language or self._only_language
        if fixed or not live:
            return dict.fromkeys(live, (fixed or "", 1.0))
        turns = [recording.turns[index] for index in live]
        probabilities = [
            self._recogniser.language_probabilities(
                self._audio.read(recording, turn.track, turn.start, turn.end), LANGUAGE_SECONDS / len(turns)
            )
            for turn in turns
        ]
        return dict(zip(live, languages(probabilities, [turn.seconds for turn in turns]), strict=True))

    def _existing(
        self, recording: Recording, live: Sequence[int], annotation: CompanionAnnotation | None
    ) -> dict[int, tuple[str, tuple[Word, ...], str]]:
        """(text, words, source) of the turns with existing text, by index."""
        # Synthesized speech is recognised in any case, to check that it says what was written.
        if self._config.existing == "ignore" or recording.synthesized:
            return {}
        turns = recording.turns
        source = recording.diarize.result.source if recording.diarize and recording.diarize.result else ""
        existing: dict[int, tuple[str, tuple[Word, ...], str]] = {
            i: (text, turns[i].words, source) for i in live if (text := turns[i].text) is not None
        }
        if annotation is not None:
            untimed = [index for index in live if not turns[index].words]
            for index, words in words_of_turns(annotation, turns, untimed).items():
                text, _, of = existing.get(index, ("".join(word.text for word in words), (), "ctm"))
                existing[index] = (text, words, of)
        return existing

    def _words(self, recording: Recording) -> _GivenWords:
        """The CTM companion of a recording, and what was done with it."""
        ctm = next((c for c in by_preference(recording.companions) if c.kind == "ctm"), None)
        if ctm is None or self._config.existing == "ignore" or recording.synthesized:
            return _GivenWords()
        try:
            annotation = read("ctm", self._audio.text(ctm.uri), ctm.name, recording.id)
        except DataError as error:
            return _GivenWords(None, (CompanionUse(ctm.name, "ctm", error.code, (error.message,)),))
        # Diarize has set the lines aside already where it used the file.
        used = recording.diarize.companions if recording.diarize else ()
        known = any((use.name, use.code) == (ctm.name, "used") for use in used)
        lines = (
            ()
            if known
            else tuple(
                Problem("bad_line", f"{ctm.name}, line {aside.line}: {aside.reason}", line=aside.line)
                for aside in annotation.aside
            )
        )
        return _GivenWords(annotation, (CompanionUse(ctm.name, "ctm", "used", annotation.notes),), lines)

    def _recognise(
        self, recording: Recording, missing: Sequence[Excerpt], spoken: Mapping[int, tuple[str, float]]
    ) -> dict[int, Hypothesis]:
        """Hypothesis for the turn of each excerpt, by its index; times in the recording."""
        hypotheses: dict[int, Hypothesis] = {}
        for language in sorted({spoken[excerpt.turn][0] for excerpt in missing}):
            own = [excerpt for excerpt in missing if spoken[excerpt.turn][0] == language]
            windows = pack(own)
            hypotheses |= self._recognise_windows(recording, windows, language)
            doubtful = [
                [excerpt] for window in windows for excerpt in _doubtful(window, hypotheses, language)
            ]
            hypotheses |= self._recognise_windows(recording, doubtful, language)
            loops = [[excerpt] for excerpt in own if _is_loop(hypotheses[excerpt.turn])]
            hypotheses |= self._recognise_windows(recording, loops, language, allow_repeats=False)
        return hypotheses

    def _recognise_windows(
        self,
        recording: Recording,
        windows: Sequence[list[Excerpt]],
        language: str,
        allow_repeats: bool = True,
    ) -> dict[int, Hypothesis]:
        """Hypotheses of the turns in some windows, by index; times in the recording."""
        by_turn: dict[int, Hypothesis] = {}
        for first in range(0, len(windows), self._config.batch):
            batch = windows[first : first + self._config.batch]
            audio = [[self._read(recording, excerpt) for excerpt in window] for window in batch]
            hypotheses = self._recogniser.recognise([join(parts) for parts in audio], language, allow_repeats)
            for window, parts, hypothesis in zip(batch, audio, hypotheses, strict=True):
                times = spans([len(part) / SAMPLE_RATE for part in parts])
                by_turn |= _by_turn(window, times, hypothesis)
        return by_turn

    def _read(self, recording: Recording, excerpt: Excerpt) -> Samples:
        return self._audio.read(recording, excerpt.track, excerpt.start, excerpt.end)

    def _transcript(
        self,
        turn: Turn,
        text: str,
        words: Sequence[Word],
        source: str,
        language: str,
        probability: float,
        hypothesis: Hypothesis | None,
    ) -> Transcript:
        """The cleaned text with its measures. `hypothesis` is None for existing text."""
        convert = self._to_script if language in ("zh", "yue") else str
        text = convert(clean(text)).strip()
        counted = measures.words_of(text, language)
        return Transcript(
            text=text,
            language=language,
            language_probability=probability,
            words=tuple(replace(_clip(word, turn), text=convert(clean(word.text))) for word in words),
            source=source,
            average_log_probability=hypothesis.average_log_probability if hypothesis else None,
            no_speech_probability=hypothesis.no_speech_probability if hypothesis else None,
            compression_ratio=measures.compression_ratio(text),
            repeated_share=measures.repeated_share(counted, 4 if language in WITHOUT_SPACES else 3),
            characters_per_second=measures.letters(text) / turn.seconds,
            longest_word=max(map(len, counted), default=0),
            phantom=measures.is_phantom(text),
        )


def _doubtful(
    window: Sequence[Excerpt], hypotheses: Mapping[int, Hypothesis], language: str
) -> list[Excerpt]:
    """The excerpts whose recognition failed in a shared window, and those just before one that has words.

    The latter may have lost words to the one that failed.
    """
    if len(window) == 1:
        return []
    failed = [_failed(hypotheses[excerpt.turn], excerpt, language) for excerpt in window]
    may_have_taken = [
        bad and hypotheses[excerpt.turn].words for bad, excerpt in zip(failed, window, strict=True)
    ]
    return [window[k] for k in range(len(window)) if failed[k] or any(may_have_taken[k + 1 : k + 2])]


def _failed(hypothesis: Hypothesis, excerpt: Excerpt, language: str) -> bool:
    """Whether the turn was skipped or truncated, got the words of its neighbour, or is a loop."""
    rate = measures.letters(hypothesis.text) / excerpt.seconds
    slow, fast = (1.5, 12) if language in WITHOUT_SPACES else (5, 25)
    return (
        not slow <= rate <= fast
        or hypothesis.average_log_probability < MIN_LOG_PROBABILITY
        or _is_loop(hypothesis)
    )


def _is_loop(hypothesis: Hypothesis) -> bool:
    return measures.compression_ratio(hypothesis.text) > MAX_COMPRESSION_RATIO


def _by_turn(
    window: Sequence[Excerpt], times: Sequence[tuple[float, float]], hypothesis: Hypothesis
) -> dict[int, Hypothesis]:
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


def _mean(words: Sequence[Word], hypothesis: Hypothesis) -> float:
    """Mean log probability of a turn's words; that of the window's tokens if it has no words."""
    if not words:
        return hypothesis.average_log_probability
    return sum_in_order(math.log(max(word.probability, 1e-6)) for word in words) / len(words)


def _clip(word: Word, turn: Turn) -> Word:
    start = min(max(word.start, turn.start), turn.end)
    return replace(word, start=start, end=min(max(word.end, start), turn.end))
