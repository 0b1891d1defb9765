"""The transcribe stage: text, language, word times and reliability measures of each turn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.errors import SetupError
from schemas.recording import Problem, Recording, TranscribeColumn, Transcript, Turn, Unit, Word
from stages.stage import SAMPLE_RATE, Samples, Stage
from stages.transcribe import measures
from stages.transcribe.config import TranscribeConfig
from stages.transcribe.existing import read_ctm, words_within
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


class TranscribeStage(Stage[TranscribeConfig]):
    """Fills `Recording.transcribe`. Each thread holds `batch` windows of 30 s in memory at a time.

    Turns of a recording that have the same language share windows. A turn for which that failed (it was
    skipped or truncated, got the words of its neighbour, or is a loop) is recognised again by itself.
    """

    name = "transcribe"
    version = 2
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
        existing = self._existing(recording, live)
        transcripts: list[Transcript | None] = [None] * len(turns)
        for index, (text, words, source) in existing.items():
            transcripts[index] = self._transcript(turns[index], text, words, source, *spoken[index], None)
        missing = excerpts(turns, [index for index in live if index not in existing])
        for index, hypothesis in self._recognise(recording, missing, spoken).items():
            transcripts[index] = self._transcript(
                turns[index], hypothesis.text, hypothesis.words, "model", *spoken[index], hypothesis
            )
        problems = []
        for index in live:
            transcript = transcripts[index]
            if transcript is None or transcript.longest_word == 0:
                transcripts[index] = None
                problems.append(Problem("no_words", "no words are heard in this turn", index))
        return TranscribeColumn(tuple(transcripts), tuple(problems))

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
        self, recording: Recording, live: Sequence[int]
    ) -> dict[int, tuple[str, tuple[Word, ...], str]]:
        """(text, words, source) of the turns with existing text, by index."""
        # Synthesized speech is recognised in any case, to check that it says what was written.
        if self._config.existing == "ignore" or recording.synthesized:
            return {}
        turns = recording.turns
        source = recording.diarize.result.source if recording.diarize and recording.diarize.result else ""
        existing: dict[int, tuple[str, tuple[Word, ...], str]] = {
            i: (text, (), source) for i in live if (text := turns[i].text) is not None
        }
        ctm = next((companion for companion in recording.companions if companion.kind == "ctm"), None)
        if ctm:
            tracks = recording.decode.result.tracks if recording.decode and recording.decode.result else 1
            words = read_ctm(self._audio.text(ctm.uri), tracks)
            for index in live:
                own = words_within(words, turns[index])
                text = existing[index][0] if index in existing else "".join(word.text for word in own)
                existing[index] = (text, own, existing[index][2] if index in existing else "ctm")
        return existing

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
