"""Turns conversations into recordings, each with a sidecar and a file of its turns."""

import io
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.synthesis.speech_models import SpeechModels
from pipeline.synthesis.spoken_once import SpokenOnce
from pipeline.synthesis.voice_check import VoiceCheck
from schemas.chat import Chat
from schemas.errors import DataError
from schemas.hashing import hash_fraction, hash_integer
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Replies
from stages.stage import Samples
from stages.synthesize.answers import with_answer
from stages.synthesize.audio import MARGIN, SynthesizedAudio, join_utterances
from stages.synthesize.changes import VoiceChange
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.speech import Backend, SpeechConfig, SpeechServer, speakable
from stages.synthesize.styles import PLAIN, draw_styles, labels_of, split

SIDECAR_FIELDS = ("licence", "license", "language", "consent")
"""Fields of a row that are copied into the sidecar."""


@dataclass(frozen=True)
class SpokenPart:
    """A message, or a span of one, that is spoken in one style."""

    message: int
    role: str
    text: str
    voice: str
    style: str
    styled: bool
    """Whether its style was requested: by its row, or because it is one of several spans."""
    change: VoiceChange | None = None
    """How its voice is changed after it has spoken."""


Refused = list[tuple[Chat, DataError]]


class ChatRecorder:
    """Answers and speaks conversations; used by several threads at once."""

    def __init__(
        self, config: SynthesizeConfig, dataset: Store, folder: str, models: SpeechModels, embedding: Path
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._folder = folder
        self._resources = ExitStack()
        self._backend = self._speaker(config.speech, models)
        self._answers = self._endpoint(config.answers, layout.ANSWERS) if config.answers else None
        self._voice_check = VoiceCheck(self._backend, config, embedding)

    def close(self) -> None:
        self._resources.close()

    def _speaker(self, speech: SpeechConfig, models: SpeechModels) -> Backend:
        if speech.server:
            return SpeechServer(speech, self._endpoint(speech.server, layout.SPEECH))
        voices = {name: models.hash_of(name) for name in models.voices}
        return SpokenOnce(models.speaker(speech.speed), self._dataset, speech.speed, voices)

    def _endpoint(self, settings: EndpointConfig, folder: str) -> Endpoint:
        return self._resources.enter_context(closing(Endpoint(settings, Replies(self._dataset, folder))))

    def record(self, chats: Sequence[Chat]) -> Refused:
        """Make the recordings of some conversations. Returns those without a recording, with the reason."""
        refused: Refused = []
        scripts: list[tuple[Chat, Chat, list[SpokenPart]]] = []
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

    def _script(self, key: str, chat: Chat) -> list[SpokenPart]:
        """The parts to speak: the last question and its answer, as the recipe's `speak` requests."""
        last = len(chat.messages) - (2 if chat.messages[-1].role == "assistant" else 1)
        script = []
        for index, message in list(enumerate(chat.messages))[last:]:
            if message.role in self._config.speak:
                text = speakable(message.text)
                if len(text) > self._config.characters_max:
                    limit = f"over the limit of {self._config.characters_max:,}"
                    raise DataError("too_long", f"message {index + 1} has {len(text):,} characters, {limit}")
                voice = _drawn(self._config.speech.voices(message.role, text), f"{key} {message.role}")
                spans = self._spans(text, message.role, key, chat.answer_styles)
                styled = len(spans) > 1 or spans[0][1] != PLAIN
                changes = self._config.voice_changes if message.role == "human" else None
                change = changes.drawn(key) if changes else None
                script += [
                    SpokenPart(index, message.role, span, voice, style, styled, change)
                    for span, style in spans
                ]
        if not script:
            raise DataError("nothing_to_speak", "nothing of it is to be spoken")
        return script

    def _spans(self, text: str, role: str, key: str, requested: Sequence[str]) -> list[tuple[str, str]]:
        """(text, style) of each span: of an answer as its row requests, several of a share of the other
        answers, else the whole text.

        Raises DataError `no_style` for a style that isn't there, `not_split` for an answer with too few
        sentences for the styles that its row requests.
        """
        config = self._config
        if role != "assistant":
            return [(text, PLAIN)]
        for style in requested:
            if style not in (PLAIN, *config.styles):
                named = f"the row asks for the style {style!r}"
                raise DataError("no_style", f"{named}, which synthesize.styles doesn't have: add it there")
        if requested:
            spans = split(text, len(requested)) if len(requested) > 1 else (text,)
            if spans is None:
                wanted = f"the row asks for {len(requested)} styles"
                raise DataError("not_split", f"{wanted}, but its answer has too few sentences: ask for fewer")
            return list(zip(spans, requested, strict=True))
        if config.styles and hash_fraction(f"{key} halves", bits=48) < config.style_share:
            most = 2 + int(hash_fraction(f"{key} spans", bits=48) * (config.style_spans_max - 1))
            for number in range(most, 1, -1):
                if spans := split(text, number):
                    styles = draw_styles(f"{key} styles", config.styles, number)
                    return list(zip(spans, styles, strict=True))
        return [(text, PLAIN)]

    def _speak(self, parts: Iterable[SpokenPart]) -> dict[SpokenPart, SynthesizedAudio | DataError]:
        """Speak all parts, those of one voice, style and speed in one batch; changes are made later."""

        def manner(part: SpokenPart) -> tuple[str, str, float]:
            return part.voice, part.style, part.change.speed if part.change else 1.0

        spoken: dict[SpokenPart, SynthesizedAudio | DataError] = {}
        ordered = sorted(parts, key=lambda part: (*manner(part), part.text, part.message))
        for (voice, name, speed), group in groupby(ordered, key=manner):
            batch = list(group)
            style = self._config.style(name)
            paced = style if speed == 1 else style.model_copy(update={"speed": style.speed * speed})
            texts = [part.text for part in batch]
            spoken |= zip(batch, self._backend.speak(texts, voice, paced), strict=True)
        return spoken

    def _write(self, chat: Chat, whole: Chat, parts: Sequence[tuple[SpokenPart, SynthesizedAudio]]) -> None:
        """Write sidecar, turns and then the recording: a recording that exists is complete."""
        messages = [part.message for part, _ in parts]
        pauses = [MARGIN if a == b else self._config.pause for a, b in pairwise(messages)]
        utterances = [part.change(utterance) if part.change else utterance for part, utterance in parts]
        samples, rate, times = join_utterances(utterances, pauses)
        spoken = [
            {
                "message": part.message,
                "role": part.role,
                "voice": part.voice,
                "likeness": self._voice_check.likeness(utterance, part.voice, part.style),
                "labels": labels_of(part.style, self._config.styles) if part.styled else {},
            }
            | ({"change": part.change.as_json()} if part.change else {})
            for part, utterance in parts
        ]
        server, answers = self._config.speech.server, self._config.answers
        sidecar: dict[str, Any] = {name: chat.fields[name] for name in SIDECAR_FIELDS if name in chat.fields}
        sidecar |= {
            "synthetic": True,
            "messages": [{"role": message.role, "content": message.text} for message in whole.messages],
            "synthesis": {
                "row": chat.row,
                "spoken": spoken,
                "speech": server.model if server else self._config.speech.engine,
                "answers": answers.model if answers else None,
            },
        }
        turns = [
            {"start": start, "end": end, "speaker": part.role, "text": part.text}
            for (part, _), (start, end) in zip(parts, times, strict=True)
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
