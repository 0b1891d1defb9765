"""What a recogniser is and what it hears, and how an engine without word times becomes one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import DataError
from schemas.recording import Word
from stages.stage import SAMPLE_RATE, Samples
from stages.transcribe.alignment import spread


@dataclass(frozen=True)
class Hypothesis:
    """The words recognised in a window or a turn; times in seconds, in a window from its start."""

    words: tuple[Word, ...]
    average_log_probability: float | None
    """Mean over tokens or words; None if the recogniser doesn't tell."""
    no_speech_probability: float | None

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words)


@dataclass(frozen=True)
class Transcription:
    """The text of a window, as an engine gives it."""

    text: str
    words: tuple[Word, ...] | None
    """None if the engine has no word times."""
    average_log_probability: float | None = None
    no_speech_probability: float | None = None


class Engine(Protocol):
    """What turns speech into text, for use by several threads at once."""

    @property
    def languages(self) -> Sequence[str] | None:
        """ISO 639-1 codes of the languages that it supports; None if it doesn't tell."""

    def transcribe(
        self, windows: Sequence[Samples], language: str, allow_repeats: bool = True
    ) -> list[Transcription | DataError]:
        """The text of windows [n] at 16 kHz in one language, as `Recogniser.recognise`."""


class Recogniser(Protocol):
    """A speech recogniser, for use by several threads at once."""

    @property
    def joins_turns(self) -> bool:
        """Whether a window may hold several turns: it costs as much as a full one, and its words have times
        that tell the turns apart."""

    @property
    def languages(self) -> Sequence[str] | None:
        """ISO 639-1 codes of the languages that it supports; None if it doesn't tell."""

    def recognise(
        self, windows: Sequence[Samples], language: str, allow_repeats: bool = True
    ) -> Sequence[Hypothesis | DataError]:
        """The words of windows [n] at 16 kHz in one language.

        Without `allow_repeats`, no four tokens occur twice in a window if the recogniser can help it, which
        breaks loops. A window that can't be recognised results in a DataError.
        """


class Aligner(Protocol):
    """What finds the times of words that are known."""

    def align(
        self, windows: Sequence[Samples], texts: Sequence[str], language: str
    ) -> list[tuple[Word, ...]]: ...


class AlignedRecogniser:
    """An engine whose words get their times from an aligner where it has none itself.

    Without an aligner, words are spread over their window, which is enough where only the text counts.
    """

    joins_turns = False

    def __init__(self, engine: Engine, aligner: Aligner | None) -> None:
        self._engine = engine
        self._aligner = aligner

    @property
    def languages(self) -> Sequence[str] | None:
        return self._engine.languages

    def recognise(
        self, windows: Sequence[Samples], language: str, allow_repeats: bool = True
    ) -> list[Hypothesis | DataError]:
        heard = self._engine.transcribe(windows, language, allow_repeats)
        times = self._times(windows, heard, language)
        return [
            item
            if isinstance(item, DataError)
            else Hypothesis(
                times[k] if item.words is None else item.words,
                item.average_log_probability,
                item.no_speech_probability,
            )
            for k, item in enumerate(heard)
        ]

    def _times(
        self, windows: Sequence[Samples], heard: Sequence[Transcription | DataError], language: str
    ) -> dict[int, tuple[Word, ...]]:
        """The words of each text that came without times, by window."""
        texts = {
            k: item.text
            for k, item in enumerate(heard)
            if not isinstance(item, DataError) and item.words is None
        }
        audio = [windows[k] for k in texts]
        if self._aligner and texts:
            found = self._aligner.align(audio, list(texts.values()), language)
        else:
            found = [
                spread(text, len(samples) / SAMPLE_RATE)
                for text, samples in zip(texts.values(), audio, strict=True)
            ]
        return dict(zip(texts, found, strict=True))
