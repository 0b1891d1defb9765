"""Answers as audio: the codes of each audio span through a vocoder, whole or streamed block by block."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.layout import merged
from stages.stage import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from stages.train.sampling import Answer
    from stages.train.vocoder.vocoder import Vocoder

Event = TypeVar("Event")


@dataclass(frozen=True)
class AudioChunk:
    """The next samples of an answer's speech."""

    samples: Samples
    """[n] at 22.05 kHz"""


def open_answer_vocoder(directory: Path | None, stream: bool | None = None) -> "AnswerVocoder":
    """Load the vocoder in `directory`, or the bundled one, onto the GPU if there is one.

    With `stream=None` it streams if it can. Raises SetupError if there is no vocoder, or if `stream` is True
    and this one can't stream.
    """
    import torch

    from stages.train.vocoder import released
    from stages.train.vocoder.stream import VocoderStream
    from stages.train.vocoder.vocoder import codes_of

    if directory is None and not released.SHIPPED.is_dir():
        raise SetupError("this installation has no bundled vocoder: name the folder of one with --vocoder")
    directory = directory or released.SHIPPED
    vocoder = released.open_vocoder(directory, lambda voice: resolve(voice).path)
    vocoder.to("cuda" if torch.cuda.is_available() else "cpu")
    if stream is not False:
        try:
            VocoderStream(vocoder)
        except SetupError as error:
            if stream:
                raise SetupError(f"{directory}: {error}") from None
            stream = False
    return AnswerVocoder(vocoder, stream is not False, directory, codes_of(directory).get("models", {}))


def check_vocoder(place: str | None) -> None:
    """Raises SetupError for a folder that can't be a vocoder, before anything is loaded; None is the bundled
    one."""
    if place is not None and not any((Path(place) / name).is_file() for name in ("config.json", "flow.pt")):
        raise SetupError(
            f"`vocoder`: {place} is no vocoder: it has no config.json or flow.pt. Name the folder of one"
        )


@dataclass(frozen=True)
class AnswerVocoder:
    """A vocoder and the way it is used for answers."""

    vocoder: "Vocoder"
    stream: bool
    """Synthesize each block as soon as its codes are there; otherwise each audio span once it is complete."""
    directory: Path
    models: Mapping[str, str]
    """Models of the tokenizer whose codes it was trained on, reference -> sha256; empty if not recorded."""

    def check(self, models: Mapping[str, str]) -> None:
        """Raises SetupError if it was trained on the codes of another tokenizer than that of `models`."""
        if self.models and set(self.models.values()) != set(models.values()):
            raise SetupError(
                f"{self.directory} was trained on the codes of {_names(self.models)}, but the tokens "
                f"come from {_names(models)}: name a vocoder for these with --vocoder"
            )

    def speak(self, events: "Iterable[Event]", seed: int) -> "Iterator[Event | AudioChunk]":
        """The events of an answer with their audio, one audio span after another; others are passed on.

        `seed` is that of the vocoder's noise.
        """
        from stages.train.sampling import Answer, CodeGroup

        synthesis, number = self._start(seed), 0
        for event in events:
            match event:
                case CodeGroup(codes, voice):
                    if voice != number:
                        yield from _chunk(synthesis.finish())
                        synthesis, number = self._start(seed), voice
                    yield event
                    yield from _chunk(synthesis.push(merged(codes).tolist()))
                case Answer():
                    if event.voices:
                        yield from _chunk(synthesis.finish())
                    yield event
                case _:
                    yield event

    def spoken(self, answer: "Answer", seed: int) -> Samples:
        """The speech of a complete answer: [n] at 22.05 kHz."""
        import torch

        pieces = []
        for codes in answer.voices:
            synthesis = self._start(seed)
            pieces += [synthesis.push(merged(codes).tolist()), synthesis.finish()]
        samples: Samples = torch.cat([piece.cpu() for piece in pieces]).numpy()
        return samples

    def _start(self, seed: int) -> "_Synthesis":
        from stages.train.vocoder.stream import VocoderStream

        return VocoderStream(self.vocoder, seed=seed) if self.stream else _WholeSpan(self.vocoder, seed)


def _names(models: Mapping[str, str]) -> str:
    return " and ".join(f"{name} ({sha256[:12]})" for name, sha256 in models.items())


class _Synthesis(Protocol):
    def push(self, tokens: Sequence[int]) -> "Tensor": ...

    def finish(self) -> "Tensor": ...


class _WholeSpan:
    """Synthesizes an audio span once all its codes are there."""

    def __init__(self, vocoder: "Vocoder", seed: int) -> None:
        self._vocoder, self._seed = vocoder, seed
        self._tokens: list[int] = []

    def push(self, tokens: Sequence[int]) -> "Tensor":
        import torch

        self._tokens += tokens
        return torch.zeros(0)

    def finish(self) -> "Tensor":
        return self._vocoder.speak(self._tokens, seed=self._seed)


def _chunk(samples: "Tensor") -> Iterator[AudioChunk]:
    if len(samples):
        yield AudioChunk(samples.cpu().numpy())
