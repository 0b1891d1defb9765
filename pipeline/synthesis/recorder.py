"""Turns conversations into recordings, each with a sidecar and a file of its turns."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.synthesis.plain_speech import PlainSpeech
from pipeline.synthesis.speech_models import SpeechModels
from pipeline.synthesis.spoken_once import SpokenOnce
from pipeline.synthesis.takes import TakeJudge
from pipeline.synthesis.voice_check import VoiceCheck
from schemas.chat import Chat
from schemas.errors import DataError
from schemas.hashing import hash_integer
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Replies
from stages.stage import Samples
from stages.synthesize.answers import with_answer
from stages.synthesize.asking import AskingTemplates, SpeakingRequest, with_request
from stages.synthesize.audio import MARGIN, SynthesizedAudio, join_utterances
from stages.synthesize.changes import VoiceChange
from stages.synthesize.speech import Backend, SpeechConfig, SpeechServer, speakable
from stages.synthesize.styles import PLAIN, changing_styles, labels_of, split

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
Spoken = dict[SpokenPart, SynthesizedAudio | DataError]


class ChatRecorder:
    """Answers and speaks conversations; used by several threads at once."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Store,
        folder: str,
        models: SpeechModels,
        embedding: Path,
        phrasings: Mapping[str, AskingTemplates],
    ) -> None:
        """`phrasings`: language -> ways to ask for a way to speak."""
        self._config = config = recipe.synthesize
        self._dataset = dataset
        self._folder = folder
        self._resources = ExitStack()
        self._backends = self._speakers(config.speech, models)
        self._answers = self._endpoint(config.answers, layout.ANSWERS) if config.answers else None
        self._voice_check = VoiceCheck(self._backends[0], config, embedding)
        self._plain_speech = PlainSpeech() if recipe.measures_plain_speech else None
        takes = len(self._backends) > 1 and self._plain_speech
        self._take_judge = TakeJudge(recipe, takes) if takes else None
        self._phrasings = phrasings

    def close(self) -> None:
        self._resources.close()

    def _speakers(self, speech: SpeechConfig, models: SpeechModels) -> list[Backend]:
        """What speaks each take."""
        if speech.server:
            endpoint = self._endpoint(speech.server, layout.SPEECH)
            return [SpeechServer(speech, endpoint, take) for take in range(self._config.takes)]
        voices = {name: models.hash_of(name) for name in models.voices}
        return [SpokenOnce(models.speaker(speech.speed), self._dataset, speech.speed, voices)]

    def _endpoint(self, settings: EndpointConfig, folder: str) -> Endpoint:
        return self._resources.enter_context(closing(Endpoint(settings, Replies(self._dataset, folder))))

    def record(self, chats: Sequence[Chat]) -> Refused:
        """Make the recordings of some conversations. Returns those without a recording, with the reason."""
        refused: Refused = []
        scripts: list[tuple[Chat, Chat, SpeakingRequest | None, list[SpokenPart]]] = []
        for chat in chats:
            try:
                whole, request = self._asking(chat.key, self._answered(chat))
                scripts.append((chat, whole, request, self._script(chat.key, whole)))
            except DataError as error:
                refused.append((chat, error))
        parts = {part for *_, script in scripts for part in script}
        compared = {part for part in parts if self._is_compared(part)}
        spoken = self._speak(parts | set(map(_plainly, compared)), self._backends[0])
        notes = {part: self._measured_plainly(spoken[_plainly(part)]) for part in compared}
        self._choose_takes(compared, spoken, notes)
        for chat, whole, request, script in scripts:
            try:
                said = [(part, _or_raise(spoken[part])) for part in script]
                self._write(chat, whole, request, said, notes)
            except DataError as error:
                refused.append((chat, error))
        return refused

    def _answered(self, chat: Chat) -> Chat:
        if self._config.answers is None or self._answers is None:
            return chat
        return with_answer(chat, self._config.answers, self._answers)

    def _asking(self, key: str, chat: Chat) -> tuple[Chat, SpeakingRequest | None]:
        """The conversation with a request for a way to speak, if it is to have one."""
        wanted = self._config.spoken_instructions
        if wanted is None or len(self._config.speak) < 2:  # what asks and what obeys are both to be heard
            return chat, None
        changing = self._changing_styles(speakable(chat.messages[-1].text), key)
        return with_request(chat, key, self._config.styles, changing, wanted, self._phrasings)

    def _is_compared(self, part: SpokenPart) -> bool:
        """Whether a part in a style is spoken plainly too."""
        return self._plain_speech is not None and part.style != PLAIN

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

        Raises DataError `not_split` for an answer with too few sentences for the styles of its row.
        """
        if role != "assistant":
            return [(text, PLAIN)]
        styles = requested or self._changing_styles(text, key)
        spans = split(text, len(styles)) if len(styles) > 1 else (text,)
        if spans is None:
            wanted = f"the row asks for {len(styles)} styles"
            raise DataError("not_split", f"{wanted}, but its answer has too few sentences: ask for fewer")
        return list(zip(spans, styles or (PLAIN,), strict=True))

    def _changing_styles(self, text: str, key: str) -> tuple[str, ...]:
        config = self._config
        return changing_styles(text, key, config.styles, config.style_share, config.style_spans_max)

    def _choose_takes(
        self, parts: set[SpokenPart], spoken: Spoken, notes: Mapping[SpokenPart, dict[str, Any]]
    ) -> None:
        """Speak parts again, as often as the recipe asks for; the best takes replace those in `spoken`."""
        if self._take_judge is None:
            return
        others = [self._speak(parts, backend) for backend in self._backends[1:]]
        for part in parts:
            takes = [spoken[part], *(take[part] for take in others)]
            likenesses = [
                None
                if isinstance(take, DataError)
                else self._voice_check.likeness(take, part.voice, part.style)
                for take in takes
            ]
            plain = notes[part].get("plain", {})
            best = self._take_judge.best(takes, likenesses, part.text, part.style, plain)
            spoken[part] = best.utterance
            notes[part]["takes"] = {"spoken": len(takes), "confirmed": best.confirmed}

    def _speak(self, parts: Iterable[SpokenPart], backend: Backend) -> Spoken:
        """Speak all parts, those of one voice, style and speed in one batch; changes are made later."""

        def manner(part: SpokenPart) -> tuple[str, str, float]:
            return part.voice, part.style, part.change.speed if part.change else 1.0

        spoken: Spoken = {}
        ordered = sorted(parts, key=lambda part: (*manner(part), part.text, part.message))
        for (voice, name, speed), group in groupby(ordered, key=manner):
            batch = list(group)
            style = self._config.style(name)
            paced = style if speed == 1 else style.model_copy(update={"speed": style.speed * speed})
            texts = [part.text for part in batch]
            spoken |= zip(batch, backend.speak(texts, voice, paced), strict=True)
        return spoken

    def _write(
        self,
        chat: Chat,
        whole: Chat,
        request: SpeakingRequest | None,
        parts: Sequence[tuple[SpokenPart, SynthesizedAudio]],
        notes: Mapping[SpokenPart, dict[str, Any]],
    ) -> None:
        """Write sidecar, turns and then the recording: a recording that exists is complete.

        `notes` are what else the sidecar says of a part.
        """
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
            | notes.get(part, {})
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
                **({"instruction": request.as_json()} if request else {}),
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

    def _measured_plainly(self, plain: SynthesizedAudio | DataError) -> dict[str, Any]:
        """What is noted of words that are spoken plainly; empty if they weren't."""
        if self._plain_speech is None or isinstance(plain, DataError):
            return {}
        return {"plain": self._plain_speech.measures(plain)}


def _plainly(part: SpokenPart) -> SpokenPart:
    return replace(part, style=PLAIN)


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
