"""Answers as sound: their codes through a vocoder, each voice whole or block by block as it comes."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from schemas.errors import SetupError
from schemas.layout import merged
from stages.stage import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from stages.train.sampling import Answer, CodeGroup, TextPiece
    from stages.train.vocoder.vocoder import Vocoder


@dataclass(frozen=True)
class AudioChunk:
    """Some more of an answer's speech."""

    samples: Samples
    """[n] at 22.05 kHz"""


def open_answer_vocoder(directory: Path | None, stream: bool | None = None) -> "AnswerVocoder":
    """The vocoder of a folder, or the one that comes with the project; it streams where it can if `stream`
    is None. Raises SetupError where there is none, or one that can't stream.
    """
    import torch

    from stages.train.vocoder import released
    from stages.train.vocoder.stream import Stream
    from stages.train.vocoder.vocoder import codes_of

    if directory is None and not released.SHIPPED.is_dir():
        raise SetupError("no vocoder comes with this installation: name the folder of one with --vocoder")
    directory = directory or released.SHIPPED
    vocoder = released.open_vocoder(directory)
    vocoder.to("cuda" if torch.cuda.is_available() else "cpu")
    if stream is not False:
        try:
            Stream(vocoder)
        except SetupError as error:
            if stream:
                raise SetupError(f"{directory}: {error}") from None
            stream = False
    return AnswerVocoder(vocoder, stream is not False, directory, codes_of(directory).get("models", {}))


@dataclass(frozen=True)
class AnswerVocoder:
    """A vocoder, and how it is used."""

    vocoder: "Vocoder"
    stream: bool
    """A block is spoken as soon as it is there; else each voice when it has ended."""
    directory: Path
    models: Mapping[str, str]
    """Of the tokenizer whose codes it speaks, reference -> sha256; empty where nobody said."""

    def check(self, models: Mapping[str, str]) -> None:
        """Raises SetupError where it speaks other codes than those of a tokenizer of such models."""
        if self.models and set(self.models.values()) != set(models.values()):
            raise SetupError(
                f"{self.directory} speaks the codes of {_names(self.models)}, and the tokens are of "
                f"{_names(models)}: name a vocoder of these with --vocoder"
            )

    def speak(
        self, events: "Iterable[TextPiece | CodeGroup | Answer]", seed: int
    ) -> "Iterator[TextPiece | CodeGroup | AudioChunk | Answer]":
        """What an answer says, with its sound; voices follow each other. `seed` is of the vocoder's noise."""
        from stages.train.sampling import Answer, CodeGroup

        speech, number = self._begun(seed), 0
        for event in events:
            match event:
                case CodeGroup(codes, voice):
                    if voice != number:
                        yield from _sound(speech.finish())
                        speech, number = self._begun(seed), voice
                    yield event
                    yield from _sound(speech.push(merged(codes).tolist()))
                case Answer():
                    if event.voices:
                        yield from _sound(speech.finish())
                    yield event
                case _:
                    yield event

    def _begun(self, seed: int) -> "_Speech":
        from stages.train.vocoder.stream import Stream

        return Stream(self.vocoder, seed=seed) if self.stream else _Whole(self.vocoder, seed)


def _names(models: Mapping[str, str]) -> str:
    return " and ".join(f"{name} ({sha256[:12]})" for name, sha256 in models.items())


class _Speech(Protocol):
    def push(self, tokens: Sequence[int]) -> "Tensor": ...

    def finish(self) -> "Tensor": ...


class _Whole:
    """Spoken when it has ended."""

    def __init__(self, vocoder: "Vocoder", seed: int) -> None:
        self._vocoder, self._seed = vocoder, seed
        self._tokens: list[int] = []

    def push(self, tokens: Sequence[int]) -> "Tensor":
        import torch

        self._tokens += tokens
        return torch.zeros(0)

    def finish(self) -> "Tensor":
        return self._vocoder.speak(self._tokens, seed=self._seed)


def _sound(samples: "Tensor") -> Iterator[AudioChunk]:
    if len(samples):
        yield AudioChunk(samples.cpu().numpy())


@dataclass
class Latency:
    """Seconds since a question was there."""

    first_text: float | None = None
    first_sound: float | None = None
    total: float | None = None
    _began: float = field(default_factory=time.monotonic, repr=False)

    def record(self, event: "TextPiece | CodeGroup | AudioChunk | Answer") -> None:
        from stages.train.sampling import Answer, TextPiece

        passed = round(time.monotonic() - self._began, 3)
        if isinstance(event, TextPiece) and self.first_text is None:
            self.first_text = passed
        elif isinstance(event, AudioChunk) and self.first_sound is None:
            self.first_sound = passed
        elif isinstance(event, Answer):
            self.total = passed

    def as_json(self) -> dict[str, float | None]:
        return {"first_text": self.first_text, "first_sound": self.first_sound, "total": self.total}

    def __str__(self) -> str:
        seconds = {name.replace("_", " "): value for name, value in self.as_json().items()}
        return ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items() if value is not None)
