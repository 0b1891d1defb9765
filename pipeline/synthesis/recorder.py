"""A studio: conversations in, recordings with sidecar and turns out."""

import io
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.storage.store import Store
from pipeline.synthesis.voice_check import Voices
from pipeline.versions.gc import ANSWERS, SPEECH
from schemas.chat import Chat
from schemas.errors import DataError
from schemas.hashing import hash_fraction, hash_integer
from stages.stage import Samples
from stages.synthesize.answers import with_answer
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.cost import Replies
from stages.synthesize.endpoint import Endpoint, EndpointConfig
from stages.synthesize.sound import MARGIN, SynthesizedAudio, joined
from stages.synthesize.speech import Backend, Piper, SpeechServer, speakable
from stages.synthesize.styles import PLAIN, drawn_styles, halves, labels_of

LIFTED = ("licence", "license", "language", "consent")
"""What a row says of itself in the words of a sidecar."""


@dataclass(frozen=True)
class Part:
    """A message that is spoken."""

    message: int
    role: str
    text: str
    voice: str
    style: str
    styled: bool
    """One of several spans, of which each has its style."""


Refused = list[tuple[Chat, DataError]]


class Studio:
    """Everything that it takes to record conversations, for any number of threads."""

    def __init__(
        self, config: SynthesizeConfig, dataset: Store, folder: str, voices: dict[str, Path], embedding: Path
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._folder = folder
        self._open = ExitStack()
        self._backend: Backend
        if config.speech.server:
            self._backend = SpeechServer(config.speech, self._endpoint(config.speech.server, SPEECH))
        else:
            self._backend = Piper(voices, config.speech.speed)
        self._answers = self._endpoint(config.answers, ANSWERS) if config.answers else None
        self._voices = Voices(self._backend, config, embedding)

    def close(self) -> None:
        self._open.close()

    def _endpoint(self, settings: EndpointConfig, folder: str) -> Endpoint:
        return self._open.enter_context(closing(Endpoint(settings, Replies(self._dataset, folder))))

    def record(self, chats: Sequence[Chat]) -> Refused:
        """Make the recordings of some conversations; those of which there is none, and why."""
        refused: Refused = []
        scripts: list[tuple[Chat, Chat, list[Part]]] = []
        for chat in chats:
            try:
                whole = self._answered(chat)
                scripts.append((chat, whole, self._script(chat.key, whole)))
            except DataError as error:
                refused.append((chat, error))
        spoken = self._speak({part for *_, script in scripts for part in script})
        for chat, whole, script in scripts:
            try:
                self._write(chat, whole, [(part, _or_raise(spoken[part])) for part in script])
            except DataError as error:
                refused.append((chat, error))
        return refused

    def _answered(self, chat: Chat) -> Chat:
        if self._config.answers is None or self._answers is None:
            return chat
        return with_answer(chat, self._config.answers, self._answers)

    def _script(self, key: str, chat: Chat) -> list[Part]:
        """The last question and, where there is one, its answer, as far as they are to be spoken."""
        voices = {
            "human": self._config.speech.human_voices,
            "assistant": self._config.speech.assistant_voices,
        }
        last = len(chat.messages) - (2 if chat.messages[-1].role == "assistant" else 1)
        script = []
        for index, message in list(enumerate(chat.messages))[last:]:
            if message.role in self._config.speak:
                text = speakable(message.text)
                if len(text) > self._config.characters_max:
                    limit = f"over the limit of {self._config.characters_max:,}"
                    raise DataError("too_long", f"message {index + 1} has {len(text):,} characters, {limit}")
                voice = _drawn(voices[message.role], f"{key} {message.role}")
                spans = self._spans(text, message.role, key)
                script += [
                    Part(index, message.role, said, voice, style, len(spans) > 1) for said, style in spans
                ]
        if not script:
            raise DataError("nothing_to_speak", "nothing of it is to be spoken")
        return script

    def _spans(self, text: str, role: str, key: str) -> list[tuple[str, str]]:
        """A message with its style; halves in two styles for the share of answers that is to have some."""
        config = self._config
        wanted = (
            role == "assistant"
            and config.styles
            and hash_fraction(f"{key} halves", bits=48) < config.style_share
        )
        cut = halves(text) if wanted else None
        if cut is None:
            return [(text, PLAIN)]
        return list(zip(cut, drawn_styles(f"{key} styles", config.styles), strict=True))

    def _speak(self, parts: Iterable[Part]) -> dict[Part, SynthesizedAudio | DataError]:
        """Everything that one voice says in one style in one go."""
        spoken: dict[Part, SynthesizedAudio | DataError] = {}
        ordered = sorted(parts, key=lambda part: (part.voice, part.style, part.text, part.message))
        for (voice, style), some in groupby(ordered, key=lambda part: (part.voice, part.style)):
            own = list(some)
            texts = [part.text for part in own]
            spoken |= zip(own, self._backend.speak(texts, voice, self._config.style(style)), strict=True)
        return spoken

    def _write(self, chat: Chat, whole: Chat, said: Sequence[tuple[Part, SynthesizedAudio]]) -> None:
        """The recording, behind the files that belong to it: where it lies, it is complete."""
        messages = [part.message for part, _ in said]
        pauses = [MARGIN if a == b else self._config.pause for a, b in pairwise(messages)]
        samples, rate, times = joined([utterance for _, utterance in said], pauses)
        spoken = [
            {
                "message": part.message,
                "role": part.role,
                "voice": part.voice,
                "likeness": self._voices.likeness(utterance, part.voice, part.style),
                "labels": labels_of(part.style, self._config.styles) if part.styled else {},
            }
            for part, utterance in said
        ]
        server, answers = self._config.speech.server, self._config.answers
        sidecar: dict[str, Any] = {name: chat.fields[name] for name in LIFTED if name in chat.fields}
        sidecar |= {
            "synthetic": True,
            "messages": [{"role": message.role, "content": message.text} for message in whole.messages],
            "synthesis": {
                "row": chat.row,
                "spoken": spoken,
                "speech": server.model if server else "piper",
                "answers": answers.model if answers else None,
            },
        }
        turns = [
            {"start": start, "end": end, "speaker": part.role, "text": part.text}
            for (part, _), (start, end) in zip(said, times, strict=True)
        ]
        name = f"{self._folder}/{chat.key}.flac"
        self._dataset.put_new(f"{name}.json", _json(sidecar))
        self._dataset.put_new(f"{name}.jsonl", b"\n".join(map(_json, turns)) + b"\n")
        self._dataset.put_new(name, _flac(samples, rate))


def _flac(samples: Samples, rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _drawn(voices: Sequence[str], key: str) -> str:
    return voices[hash_integer(key) % len(voices)]


def _or_raise(spoken: SynthesizedAudio | DataError) -> SynthesizedAudio:
    if isinstance(spoken, DataError):
        raise spoken
    return spoken


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()
