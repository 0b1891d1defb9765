"""Answers as audio: the codes of each audio span through a vocoder, whole or streamed block by block."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipeline.inference.voice import open_voice
from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.layout import merged
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES
from stages.stage import Samples
from stages.tokenize.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from stages.train.sampling import Answer
    from stages.train.vocoder.vocoder import Vocoder
    from stages.train.vocoder.voice_prompt import VoicePrompt

Event = TypeVar("Event")

MUSIC = "-Music"
"""Ending of the folder of the vocoder that sings, as it is released: CosyVoice-300M-25Hz-Music."""
SUNG = ("RAP", "哼唱")
"""Tags, which stand in round brackets before a text."""
_TAG = re.compile(r"[(（]([^()（）]*)[)）]")


@dataclass(frozen=True)
class AudioChunk:
    """The next samples of an answer's speech."""

    samples: Samples
    """[n] at 22.05 kHz"""


def open_answer_vocoder(
    directory: Path | None, stream: bool | None = None, voiced: bool = False
) -> "AnswerVocoder":
    """Load the vocoder in `directory`, or the bundled one, onto the GPU if there is one. A released one sings
    with the vocoder in `directory`-Music, if that is there.

    With `stream=None` it streams if it can. Raises SetupError if there is no vocoder, if `stream` is True
    and this one can't stream, or if it is to have a voice (`voiced`) and takes none.
    """
    import torch

    from stages.train.vocoder import released
    from stages.train.vocoder.hift import HiFT
    from stages.train.vocoder.stream import VocoderStream
    from stages.train.vocoder.vocoder import codes_of

    if directory is None and not released.SHIPPED.is_dir():
        raise SetupError("this installation has no bundled vocoder: name the folder of one with --vocoder")
    directory = directory or released.SHIPPED
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vocoder = released.open_vocoder(directory, lambda voice: resolve(voice).path).to(device)
    is_released = isinstance(vocoder.wave, HiFT)
    if voiced and not is_released:
        raise SetupError(
            f"{directory} takes no voice, since it has its own: name the folder of a released CosyVoice "
            "vocoder with --vocoder, or leave out --voice"
        )
    music = Path(f"{directory.absolute()}{MUSIC}")
    singing = released.load_released(music).to(device) if is_released and music.is_dir() else None
    if stream is not False:
        try:
            VocoderStream(vocoder)
        except SetupError as error:
            if stream:
                raise SetupError(f"{directory}: {error}") from None
            stream = False
    models = codes_of(directory).get("models", {})
    return AnswerVocoder(vocoder, stream is not False, directory, models, singing)


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
    singing: "Vocoder | None" = None
    """Of a released one: speaks what is tagged as singing or rap."""
    voice: "VoicePrompt | None" = None

    def with_voice(self, file: Path, tokenizer: Tokenizer, models: Mapping[str, str]) -> "AnswerVocoder":
        """With the voice of a recording or of a file that was kept. Raises SetupError."""
        return replace(self, voice=open_voice(file, self.directory, tokenizer, models))

    def check(self, models: Mapping[str, str], tokenizer: Tokenizer | None = None) -> None:
        """Raises SetupError if it was trained on the codes of another tokenizer than that of `models`; of a
        released one, which says nothing of its tokenizer, if the codebooks have other sizes."""
        from stages.train.vocoder.hift import HiFT

        if tokenizer is not None and isinstance(self.vocoder.wave, HiFT):
            sizes = (tokenizer.linguistic_size, tokenizer.semantic_size)
            if sizes != (LINGUISTIC_CODES, SEMANTIC_CODES):
                raise SetupError(
                    f"{self.directory} speaks the codes of codebooks of {LINGUISTIC_CODES} and "
                    f"{SEMANTIC_CODES}, but the tokenizer's have {sizes[0]} and {sizes[1]}: name a vocoder "
                    "for these with --vocoder"
                )
        if self.models and set(self.models.values()) != set(models.values()):
            raise SetupError(
                f"{self.directory} was trained on the codes of {_names(self.models)}, but the tokens "
                f"come from {_names(models)}: name a vocoder for these with --vocoder"
            )

    def speak(self, events: "Iterable[Event]", seed: int, asked: str = "") -> "Iterator[Event | AudioChunk]":
        """The events of an answer with their audio, one audio span after another; others are passed on.

        `seed` is that of the vocoder's noise. `asked` is the text of the question, if it has one.
        """
        from stages.train.sampling import Answer, CodeGroup, TextPiece

        synthesis: _Synthesis | None = None
        text, number = "", 0
        for event in events:
            match event:
                case TextPiece(piece):
                    text += piece
                    yield event
                case CodeGroup(codes, voice):
                    if synthesis is not None and voice != number:
                        yield from _chunk(synthesis.finish())
                        synthesis = None
                    if synthesis is None:
                        synthesis, number = self._start(seed, asked, text), voice
                    yield event
                    yield from _chunk(synthesis.push(merged(codes).tolist()))
                case Answer():
                    if synthesis is not None:
                        yield from _chunk(synthesis.finish())
                    yield event
                case _:
                    yield event

    def spoken(self, answer: "Answer", seed: int) -> Samples:
        """The speech of a complete answer: [n] at 22.05 kHz."""
        import torch

        pieces = []
        for codes in answer.voices:
            synthesis = self._start(seed, answer.text)
            pieces += [synthesis.push(merged(codes).tolist()), synthesis.finish()]
        samples: Samples = torch.cat([piece.cpu() for piece in pieces]).numpy()
        return samples

    def _start(self, seed: int, *texts: str) -> "_Synthesis":
        from stages.train.vocoder.stream import VocoderStream

        if self.stream:
            return VocoderStream(self.vocoder, seed=seed)
        vocoder = self.singing if self.singing and any(map(is_sung, texts)) else self.vocoder
        return _WholeSpan(vocoder, {"seed": seed, **(self.voice.options if self.voice else {})})


def is_sung(text: str) -> bool:
    """Whether a text begins with a tag of singing, such as `(RAP)`."""
    tag = _TAG.match(text.lstrip())
    return tag is not None and tag[1] in SUNG


def _names(models: Mapping[str, str]) -> str:
    return " and ".join(f"{name} ({sha256[:12]})" for name, sha256 in models.items())


class _Synthesis(Protocol):
    def push(self, tokens: Sequence[int]) -> "Tensor": ...

    def finish(self) -> "Tensor": ...


class _WholeSpan:
    """Synthesizes an audio span once all its codes are there."""

    def __init__(self, vocoder: "Vocoder", options: Mapping[str, Any]) -> None:
        self._vocoder, self._options = vocoder, options
        self._tokens: list[int] = []

    def push(self, tokens: Sequence[int]) -> "Tensor":
        import torch

        self._tokens += tokens
        return torch.zeros(0)

    def finish(self) -> "Tensor":
        return self._vocoder.speak(self._tokens, **self._options)


def _chunk(samples: "Tensor") -> Iterator[AudioChunk]:
    if len(samples):
        yield AudioChunk(samples.cpu().numpy())
