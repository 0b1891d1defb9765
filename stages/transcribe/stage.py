"""The transcribe stage: text, language, word times and reliability measures of each turn."""

from collections.abc import Callable, Sequence
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
from schemas.speech_marks import without_marks
from stages.gpu import ctranslate2_finds_gpu
from stages.replies import Replies
from stages.stage import Stage
from stages.transcribe import measures
from stages.transcribe.config import TranscribeConfig
from stages.transcribe.engines import load_recogniser
from stages.transcribe.existing import words_of_turns
from stages.transcribe.inverse_normalisation import InverseNormaliser
from stages.transcribe.languages import WITHOUT_SPACES, languages
from stages.transcribe.punctuation import Punctuation
from stages.transcribe.recogniser import Hypothesis
from stages.transcribe.text import clean, script_converter
from stages.transcribe.turns import TurnRecogniser
from stages.transcribe.whisper import WhisperRecogniser
from stages.transcribe.windows import excerpts
from stages.word_errors import errors

LANGUAGE_SECONDS = 30.0
"""Minimum of audio in seconds, silence included, to detect the languages of a recording: the fewer turns it
has, the more is used per turn."""


@dataclass(frozen=True)
class _GivenWords:
    """What the CTM companion of a recording says, and the record of its use."""

    annotation: CompanionAnnotation | None = None
    companions: tuple[CompanionUse, ...] = ()
    lines: tuple[Problem, ...] = ()
    """Its lines that were set aside."""


class TranscribeStage(Stage[TranscribeConfig]):
    """Fills `Recording.transcribe`. Each thread holds `batch` windows of 30 s in memory at a time."""

    name = "transcribe"
    version = 5
    memory_settings = ("transcribe.batch", "transcribe.beam")

    def _load_models(self) -> None:
        """Load the recognisers. Raises SetupError for a model that can't be loaded or a language it lacks."""
        config = self._config.placed(ctranslate2_finds_gpu())
        aligner = None
        if not config.has_word_times:
            path = self._models[config.aligner]
            aligner = WhisperRecogniser(path, config.device, config.aligner_precision, 1, self._threads)
        first = load_recogniser(config, self._models, self._threads, lambda: self._cache("first"), aligner)
        self._language_detector = first if isinstance(first, WhisperRecogniser) else aligner
        self._recognise = TurnRecogniser(first, self._audio, config.batch)
        self._second = None
        if config.second:
            second = load_recogniser(
                config.second, self._models, self._threads, lambda: self._cache("second"), None
            )
            self._second = TurnRecogniser(second, self._audio, config.second.batch)
        supported = first.languages
        if supported is not None and config.language not in (None, *supported):
            raise SetupError(
                f"transcribe: {config.model} does not support the language {config.language!r}, only "
                f"{', '.join(supported)}"
            )
        self._only_language = supported[0] if supported is not None and len(supported) == 1 else None
        self._to_script = script_converter(config.chinese_script)
        self._punctuation = Punctuation(self._models[config.punctuation]) if config.punctuation else None
        self._inverse_normaliser = InverseNormaliser() if config.inverse_normalisation else None

    def _cache(self, recogniser: str) -> Replies:
        """The cache of the replies of a recogniser's server."""
        if self._replies is None:
            raise SetupError("transcribe: a server's replies have no place to be kept")
        return self._replies(recogniser)

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
        check = self._config.existing == "check" and not recording.synthesized
        heard = excerpts(turns, [index for index in live if check or index not in existing])
        problems = [*given.lines]
        languages_spoken = {index: language for index, (language, _) in spoken.items()}
        for index, hypothesis in self._recognise(recording, heard, languages_spoken).items():
            known = transcripts[index]
            if isinstance(hypothesis, DataError):
                if known is None:  # a given text stays, unchecked
                    problems.append(Problem(hypothesis.code, hypothesis.message, index))
                continue
            if known is not None:
                text = self._script(known.language)(clean(hypothesis.text)).strip()
                transcripts[index] = replace(known, heard_text=text)
                continue
            transcripts[index] = self._transcript(
                turns[index], hypothesis.text, hypothesis.words, "model", *spoken[index], hypothesis
            )
        failed = {problem.turn for problem in problems}
        for index in live:
            transcript = transcripts[index]
            if index in failed:
                continue
            if transcript is None or transcript.longest_word == 0:
                transcripts[index] = None
                problems.append(Problem("no_words", "no words are heard in this turn", index))
        self._compare(recording, transcripts)
        return TranscribeColumn(tuple(transcripts), tuple(problems), given.companions)

    def _compare(self, recording: Recording, transcripts: list[Transcript | None]) -> None:
        """Add what the second recogniser hears to the transcripts, in place."""
        if self._second is None:
            return
        spoken = {
            index: transcript.language
            for index, transcript in enumerate(transcripts)
            if transcript and self._second.supports(transcript.language)
        }
        heard = self._second(recording, excerpts(recording.turns, list(spoken)), spoken)
        for index, hypothesis in heard.items():
            transcript = transcripts[index]
            if transcript is None or isinstance(hypothesis, DataError):
                continue
            text = self._script(spoken[index])(clean(hypothesis.text)).strip()
            found = errors(spoken[index], transcript.recognised_text or transcript.text, text)
            transcripts[index] = replace(
                transcript, second_text=text, disagreement=found.wrong / found.of if found else None
            )

    def _languages(self, recording: Recording, live: Sequence[int]) -> dict[int, tuple[str, float]]:
        """(language, probability) of each live turn."""
        fixed = self._config.language or self._only_language
        detector = self._language_detector
        if fixed or not live or detector is None:
            return dict.fromkeys(live, (fixed or "", 1.0))
        turns = [recording.turns[index] for index in live]
        probabilities = [
            detector.language_probabilities(
                self._audio.read(recording, turn.track, turn.start, turn.end), LANGUAGE_SECONDS / len(turns)
            )
            for turn in turns
        ]
        return dict(zip(live, languages(probabilities, [turn.seconds for turn in turns]), strict=True))

    def _existing(
        self, recording: Recording, live: Sequence[int], annotation: CompanionAnnotation | None
    ) -> dict[int, tuple[str, tuple[Word, ...], str]]:
        """(text, words, source) of the turns with existing text, by index."""
        use = (
            self._config.synthesized == "trust"
            if recording.synthesized
            else self._config.existing != "ignore"
        )
        if not use:
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

    def _script(self, language: str) -> Callable[[str], str]:
        return self._to_script if language in ("zh", "yue") else str

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
        """The cleaned text, and measures of its words as recognised: marks, such as [Laughter], are none.
        `hypothesis` is None for existing text."""
        convert = self._script(language)
        text = convert(clean(text)).strip()
        timed = tuple(replace(_clip(word, turn), text=convert(clean(word.text))) for word in words)
        written = self._written(timed, language) if hypothesis else timed
        said = without_marks(text)
        counted = measures.words_of(said, language)
        return Transcript(
            text=text if written == timed else "".join(word.text for word in written).strip(),
            language=language,
            language_probability=probability,
            words=written,
            source=source,
            average_log_probability=hypothesis.average_log_probability if hypothesis else None,
            no_speech_probability=hypothesis.no_speech_probability if hypothesis else None,
            compression_ratio=measures.compression_ratio(said),
            repeated_share=measures.repeated_share(counted, 4 if language in WITHOUT_SPACES else 3),
            characters_per_second=measures.letters(said) / turn.seconds,
            longest_word=max(map(len, counted), default=0),
            phantom=measures.is_phantom(text),
            recognised_text=None if written == timed else text,
        )

    def _written(self, words: tuple[Word, ...], language: str) -> tuple[Word, ...]:
        """Recognised words as the settings want them written."""
        if self._punctuation:
            marked = self._punctuation.restore([word.text for word in words], language)
            words = tuple(replace(word, text=spelt) for word, spelt in zip(words, marked, strict=True))
        return self._inverse_normaliser(words, language) if self._inverse_normaliser else words


def _clip(word: Word, turn: Turn) -> Word:
    start = min(max(word.start, turn.start), turn.end)
    return replace(word, start=start, end=min(max(word.end, start), turn.end))
