"""Conversations as recordings: answered and spoken once, then annotated like any recording.

`synthesis/<fingerprint>/<conversation>.flac` is the last question followed by its answer. Its sidecar and,
as `.jsonl`, its turns are stored next to it. Existing recordings are not made again.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.listing import InputRoot, ListedRecording
from pipeline.inputs.row_files import read_rows
from pipeline.models import Model, resolve
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.synthesis.phrasings import phrasings_of
from pipeline.synthesis.recorder import ChatRecorder, Refused
from pipeline.synthesis.speech_models import SpeechModels, speech_models
from pipeline.synthesis.takes import models_of_takes
from pipeline.versions.forget import forgotten
from schemas.chat import Chat, parse
from schemas.errors import DataError
from schemas.recording import Companion
from schemas.turn import SetAsideRow, recording_key
from stages.synthesize.asking import AskingTemplates, SpokenInstructionsConfig
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.speech import SpeechConfig
from stages.synthesize.styles import PLAIN, STYLES, StyleConfig

VERSION = 2
_BATCH_CHATS = 16
"""Conversations that one thread takes, and one run of piper speaks."""


@dataclass(frozen=True)
class Synthesis:
    """The recordings of a recipe's conversations."""

    recordings: tuple[ListedRecording, ...]
    """One for each conversation, in the form of listed inputs and the order of the rows: rows that are
    added at the end leave the units before them as they are."""
    root: InputRoot
    set_aside: tuple[SetAsideRow, ...]
    """Rows without a recording; `recording` is their file and line."""
    created: int
    """Recordings that this call made; the others existed."""


def synthesize(recipe: Recipe, progress: Callable[[str], None], make: bool = True) -> Synthesis | None:
    """Make the missing recordings of a recipe's conversations. None if it names no conversations.

    Without `make`, only existing recordings are listed. `progress` receives lines of text. Raises SetupError:
    no piper, a server that refuses the key, an output that can't be written. Recordings that were made
    before the error are kept.
    """
    config = recipe.synthesize
    if not config.conversations:
        return None
    dataset = Store(f"{recipe.output}/{recipe.name}")
    if make:
        dataset.check_writable()
    models, embedding = speech_models(config.speech), resolve(config.embedding)
    phrasings = phrasings_of(config.spoken_instructions)
    folder = layout.synthesis(_fingerprint(recipe, models, embedding, phrasings))
    existing = {stored.path for stored in dataset.list(folder)}
    set_aside: list[SetAsideRow] = []
    keys: dict[str, None] = {}  # in the order of the rows
    tombstones = forgotten(dataset)
    todo = (
        chat
        for chat in _chats(config, keys, set_aside)
        if f"{folder}/{chat.key}.flac" not in existing
        and recording_key(_recording_id(chat.key)) not in tombstones
    )
    created = 0
    if not make:
        number = sum(1 for _ in todo)
        aside = f"; {len(set_aside)} set aside, such as {_told(set_aside[0])}" if set_aside else ""
        progress(f"{number} conversations to speak{aside}{_note_on_voices(config.speech)}")
    for first in todo:  # voices are loaded only if there is something to speak
        progress(f"{config.speech.engine} speaks{_note_on_voices(config.speech)}")
        recorder = ChatRecorder(recipe, dataset, folder, models, embedding.path, phrasings)
        with closing(recorder):
            every = chain([first], todo)
            for chats, refused in _in_threads(recorder.record, every, _threads(config), progress):
                created += chats - len(refused)
                set_aside += [_set_aside_row(chat.row, error) for chat, error in refused]
                progress(f"{created} conversations spoken, {len(set_aside)} set aside")
    recordings = tuple(_inputs(dataset, folder, keys))
    root = InputRoot(dataset.join(folder), len(recordings), sum(r.bytes for r in recordings), 0)
    return Synthesis(recordings, root, tuple(sorted(set_aside, key=_file_and_line)), created)


def _note_on_voices(speech: SpeechConfig) -> str:
    """What to tell where a voice speaks on both sides; empty where none does."""
    if not speech.shared_voices:
        return ""
    remedy = " (`speech: kokoro` has several)" if speech.engine == "piper" else ""
    return (
        f"; questions and answers have the same voice, {', '.join(speech.shared_voices)}: name others in "
        f"synthesize.speech.human_voices or assistant_voices{remedy}"
    )


_AUDIO_SETTINGS = {"speak", "characters_max", "pause", "reference"}


def _fingerprint(
    recipe: Recipe, models: SpeechModels, embedding: Model, phrasings: Mapping[str, AskingTemplates]
) -> str:
    """Hash of everything that determines answers and audio, except the conversations themselves."""
    config = recipe.synthesize
    server = config.speech.server
    return digest(
        {
            "version": VERSION,
            "answers": config.answers and config.answers.reply_settings(),
            "server": server and server.reply_settings(),
            "speech": config.speech.model_dump(mode="json", exclude={"server", "engine"}),
            "rest": config.model_dump(mode="json", include=_AUDIO_SETTINGS),
            # Rows may request styles without a share; the default styles only change with the version.
            "styles": {"style_share": config.style_share, "styles": _settings_of(config.styles)}
            if config.style_share or config.styles != STYLES
            else 0.0,
            **({"changes": changes.model_dump(mode="json")} if (changes := config.voice_changes) else {}),
            **({"style_spans": config.style_spans_max} if config.style_spans_max > 2 else {}),
            **(_instructions(config.spoken_instructions, phrasings) if config.spoken_instructions else {}),
            **({"plain": True} if recipe.measures_plain_speech and not config.measures_plain else {}),
            **(_takes(recipe) if config.takes > 1 else {}),
            "voices": models.hashes,
            "embedding": embedding.sha256,
        }
    )


def _settings_of(styles: Mapping[str, StyleConfig]) -> dict[str, Any]:
    """Without tags where there are none, so that recordings stay those of earlier releases."""
    return {
        label: style.model_dump(mode="json", exclude=None if style.tag else {"tag"})
        for label, style in styles.items()
    }


def _takes(recipe: Recipe) -> dict[str, Any]:
    """What decides which of several takes is kept."""
    ears = [ear.content() for ear in recipe.quality.ears.get("emotion", ())]
    return {
        "takes": recipe.synthesize.takes,
        "checks": recipe.synthesize.checks.content(),
        "labels": recipe.compose.labels.limits,
        "heard_by": [ears, {name: model.sha256 for name, model in models_of_takes(recipe).items()}],
    }


def _instructions(
    config: SpokenInstructionsConfig, phrasings: Mapping[str, AskingTemplates]
) -> dict[str, dict[str, Any]]:
    settings = config.model_dump(mode="json", exclude={"phrasings"})
    return {"instructions": settings | {name: each.text for name, each in phrasings.items()}}


def _chats(config: SynthesizeConfig, keys: dict[str, None], set_aside: list[SetAsideRow]) -> Iterator[Chat]:
    """Every distinct conversation; adds its key to `keys`, and unusable rows to `set_aside`."""
    for row in read_rows(config.conversations):
        try:
            if isinstance(row.value, DataError):
                raise row.value
            chat = parse(row.value, row.where)
            if chat.key in keys:
                raise DataError("duplicate", "the same conversation stands in a row before")
            _check_styles(chat, config)
        except DataError as error:
            set_aside.append(_set_aside_row(row.where, error))
            continue
        keys[chat.key] = None
        yield chat


def _check_styles(chat: Chat, config: SynthesizeConfig) -> None:
    """Raises DataError `no_style` for a style that a row asks for and that can't be spoken."""
    for style in chat.answer_styles if "assistant" in config.speak else ():
        named = f"the row asks for the style {style!r}"
        if style not in (PLAIN, *config.styles):
            raise DataError("no_style", f"{named}, which synthesize.styles doesn't have: add it there")
        if refusal := config.speech.refusal(config.style(style)):
            raise DataError("no_style", f"{named}, and {refusal}")


def _told(row: SetAsideRow) -> str:
    return f"{row.recording}: {row.message}"


def _threads(config: SynthesizeConfig) -> int:
    servers = [server for server in (config.answers, config.speech.server) if server]
    return max((server.parallel for server in servers), default=os.cpu_count() or 1)


def _in_threads(
    record: Callable[[list[Chat]], Refused],
    chats: Iterator[Chat],
    threads: int,
    progress: Callable[[str], None],
) -> Iterator[tuple[int, Refused]]:
    """(number, refused) of each batch of conversations as it is done. Reads ahead only what threads take."""
    with ThreadPoolExecutor(threads) as pool:
        running: dict[Future[Refused], int] = {}
        try:
            while True:
                while len(running) < threads and (batch := list(islice(chats, _BATCH_CHATS))):
                    running[pool.submit(record, batch)] = len(batch)
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        except KeyboardInterrupt:
            progress(f"stopping, when the {sum(running.values())} that are being spoken are done")
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _recording_id(key: str) -> str:
    """Id of a conversation's recording."""
    return layout.synthesized_id(key)


def _inputs(dataset: Store, folder: str, keys: Iterable[str]) -> Iterator[ListedRecording]:
    """The recordings of these conversations, under ids that don't depend on the settings."""
    files = {stored.path.rpartition("/")[2]: stored for stored in dataset.list(folder)}
    for key in keys:
        name = f"{key}.flac"
        if name not in files:
            continue
        audio = files[name]
        sidecar, turns = (
            Companion(kind, dataset.join(files[f"{name}.{kind}"].path), files[f"{name}.{kind}"].etag)
            for kind in ("json", "jsonl")
        )
        uri = dataset.join(audio.path)
        yield ListedRecording(_recording_id(key), uri, audio.bytes, audio.etag, sidecar, (turns,))


def _file_and_line(row: SetAsideRow) -> tuple[str, int]:
    file, _, line = row.recording.rpartition(":")
    return file, int(line)


def _set_aside_row(where: str, error: DataError) -> SetAsideRow:
    return SetAsideRow(where, None, None, None, "synthesize", error.code, error.message)
