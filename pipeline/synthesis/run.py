"""Conversations as recordings: answered and spoken once, then they go through annotate as any recording.

`synthesis/<fingerprint>/<conversation>.flac` holds the last question and its answer, one after the other;
beside it lie its sidecar and, as `.jsonl`, who says what when. What is there is not made again.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.listing import InputRoot, ListedRecording
from pipeline.inputs.row_files import read_rows
from pipeline.models import Model, resolve
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.synthesis.recorder import Refused, Studio
from pipeline.versions.forget import forgotten
from schemas.chat import Chat, parse
from schemas.errors import DataError
from schemas.recording import Companion
from schemas.turn import SetAsideRow, recording_key
from stages.synthesize.config import SynthesizeConfig

VERSION = 2
AT_ONCE = 16
"""Conversations that one thread takes, and one run of piper speaks."""


@dataclass(frozen=True)
class Synthesis:
    """What the conversations of a recipe came to."""

    recordings: tuple[ListedRecording, ...]
    """One for each conversation, as the listing of inputs has them, sorted by id."""
    root: InputRoot
    set_aside: tuple[SetAsideRow, ...]
    """Rows that became no recording; `recording` is their file and line."""
    made: int
    """Recordings made now; the others were there."""


def synthesize(recipe: Recipe, say: Callable[[str], None], make: bool = True) -> Synthesis | None:
    """Make the recordings of a recipe's conversations, or only see which are there; None where it names none.

    Raises SetupError: no piper, a server that refuses the key, no place to write. What was made until then
    stays, and is not made again.
    """
    config = recipe.synthesize
    if not config.conversations:
        return None
    dataset = Store(f"{recipe.output}/{recipe.name}")
    if make:
        dataset.check_writable()
    voices, embedding = _voices(config), resolve(config.embedding)
    folder = layout.synthesis(_fingerprint(config, voices, embedding))
    there = {found.path for found in dataset.list(folder)}
    aside: list[SetAsideRow] = []
    keys: set[str] = set()
    gone = forgotten(dataset)
    todo = (
        chat
        for chat in _chats(config, keys, aside)
        if f"{folder}/{chat.key}.flac" not in there and recording_key(_id(chat.key)) not in gone
    )
    made = 0
    if not make:
        say(f"{sum(1 for _ in todo)} conversations to speak")
    for first in todo:  # the voices are only loaded where there is something to say
        paths = {name: model.path for name, model in voices.items()}
        with closing(Studio(config, dataset, folder, paths, embedding.path)) as studio:
            for chats, refused in _in_threads(studio.record, chain([first], todo), _threads(config)):
                made += chats - len(refused)
                aside += [_aside(chat.row, error) for chat, error in refused]
                say(f"{made} conversations spoken, {len(aside)} set aside")
    recordings = tuple(_inputs(dataset, folder, keys))
    root = InputRoot(dataset.join(folder), len(recordings), sum(r.bytes for r in recordings), 0)
    return Synthesis(recordings, root, tuple(sorted(aside, key=_place)), made)


def _voices(config: SynthesizeConfig) -> dict[str, Model]:
    """The files of piper's voices; a server has its own."""
    if config.speech.server:
        return {}
    names = {*config.speech.human_voices, *config.speech.assistant_voices}
    return {name: resolve(name) for name in sorted(names)}


_DECIDES = {"speak", "characters_max", "pause", "reference"}


def _fingerprint(config: SynthesizeConfig, voices: dict[str, Model], embedding: Model) -> str:
    """Of all that decides what is said and how it sounds, but for the words."""
    server = config.speech.server
    return digest(
        {
            "version": VERSION,
            "answers": config.answers and config.answers.asked(),
            "server": server and server.asked(),
            "speech": config.speech.model_dump(mode="json", exclude={"server"}),
            "rest": config.model_dump(mode="json", include=_DECIDES),
            "styles": config.style_share
            and config.model_dump(mode="json", include={"styles", "style_share"}),
            "voices": {name: model.sha256 for name, model in voices.items()},
            "embedding": embedding.sha256,
        }
    )


def _chats(config: SynthesizeConfig, keys: set[str], aside: list[SetAsideRow]) -> Iterator[Chat]:
    """Every conversation once. Notes the keys of all, and which rows are none."""
    for row in read_rows(config.conversations):
        try:
            if isinstance(row.value, DataError):
                raise row.value
            chat = parse(row.value, row.where)
            if chat.key in keys:
                raise DataError("duplicate", "the same conversation stands in a row before")
        except DataError as error:
            aside.append(_aside(row.where, error))
            continue
        keys.add(chat.key)
        yield chat


def _threads(config: SynthesizeConfig) -> int:
    servers = [server for server in (config.answers, config.speech.server) if server]
    return max((server.parallel for server in servers), default=os.cpu_count() or 1)


def _in_threads(
    record: Callable[[list[Chat]], Refused], chats: Iterator[Chat], threads: int
) -> Iterator[tuple[int, Refused]]:
    """Number and refusals of a few conversations after another, with no more read ahead than is worked on."""
    with ThreadPoolExecutor(threads) as pool:
        running: dict[Future[Refused], int] = {}
        try:
            while True:
                while len(running) < threads and (some := list(islice(chats, AT_ONCE))):
                    running[pool.submit(record, some)] = len(some)
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _id(key: str) -> str:
    """A conversation's recording."""
    return layout.synthesized_id(key)


def _inputs(dataset: Store, folder: str, keys: set[str]) -> Iterator[ListedRecording]:
    """The recordings of these conversations, under ids that say nothing of the settings."""
    found = {stored.path.rpartition("/")[2]: stored for stored in dataset.list(folder)}
    for key in sorted(keys):
        name = f"{key}.flac"
        if name not in found:
            continue
        sound = found[name]
        sidecar, turns = (
            Companion(kind, dataset.join(found[f"{name}.{kind}"].path), found[f"{name}.{kind}"].etag)
            for kind in ("json", "jsonl")
        )
        uri = dataset.join(sound.path)
        yield ListedRecording(_id(key), uri, sound.bytes, sound.etag, sidecar, (turns,))


def _place(row: SetAsideRow) -> tuple[str, int]:
    """File and line."""
    file, _, line = row.recording.rpartition(":")
    return file, int(line)


def _aside(where: str, error: DataError) -> SetAsideRow:
    return SetAsideRow(where, None, None, None, "synthesize", error.code, error.message)
