"""Texts that nobody has spoken: conversations and plain documents of JSON lines and Parquet files.

A row with `messages` is a conversation, one with `text` a document; what else it says goes into the record.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.inputs.row_files import list_row_files, read_rows
from pipeline.storage.store import split
from schemas.chat import Chat, ChatMessage, parse
from schemas.errors import DataError, SetupError
from schemas.sample import Message, Text
from schemas.turn import recording_key
from stages.compose import Family, SampleSource, SourceSpan

VERSION = 1


@dataclass(frozen=True)
class TextFile:
    """A file of texts, as listed."""

    id: str
    """Path relative to its folder: unique in the dataset."""
    uri: str
    bytes: int
    etag: str


@dataclass(frozen=True)
class TextRow:
    """A row that can be used."""

    key: str
    """Unique in the dataset, [a-z0-9-]."""
    where: str
    """File and line."""
    family: Family
    """What can be made of it as it is."""
    source: SampleSource
    text: str
    """All that is said in it."""


def list_texts(uris: Sequence[str]) -> tuple[TextFile, ...]:
    """The files of a recipe's texts. Raises SetupError where there is none, or two have one name."""
    found: dict[str, TextFile] = {}
    for uri in uris:
        for store, name in list_row_files(uri):
            stored = store.head(name)
            file = TextFile(name, store.join(name), stored.bytes, stored.etag)
            if found.setdefault(name, file).uri != file.uri:
                raise SetupError(f"two of the texts are called {name}: give one of them another name")
    return tuple(sorted(found.values(), key=lambda file: file.id))


def read_texts(file: TextFile, recipe: Recipe) -> Iterator[tuple[str, TextRow | DataError]]:
    """(file and line, the row or what is wrong with it) of every row, one in memory at a time."""
    store, name = split(file.uri)
    for row in read_rows([store.join(name)]):
        where = f"{file.id}:{row.where.rpartition(':')[2]}"
        try:
            if isinstance(row.value, DataError):
                raise row.value
            yield where, _row(row.value, where, recipe)
        except DataError as error:
            yield where, error


def read_prompts(uris: Sequence[str]) -> list[str]:
    """Prompts, one a line of text, or rows of JSON with `prompt`, `question`, `text` or `messages`."""
    found: list[str] = []
    for uri in uris:
        if not uri.endswith((".jsonl", ".parquet")):
            store, name = split(uri)
            found += store.get(name).decode("utf-8-sig", "replace").splitlines()
            continue
        for row in read_rows([uri]):
            try:
                found += _prompts(row.value)
            except DataError as error:
                raise SetupError(f"evaluation prompts: {row.where}: {error}") from None
    return [prompt for prompt in found if prompt.strip()]


def _prompts(row: Any) -> list[str]:
    if isinstance(row, DataError):
        raise row
    if isinstance(row, str):
        return [row]
    if not isinstance(row, dict):
        return []
    if isinstance(row.get("messages"), list):
        return [m.text for m in parse(row, "").messages if m.role == "human"]
    return [row[name] for name in ("prompt", "question", "text") if isinstance(row.get(name), str)]


def _row(value: Any, where: str, recipe: Recipe) -> TextRow:
    document = isinstance(value, dict) and "messages" not in value and "text" in value
    chat = None if document else parse(value, where)
    fields = chat.fields if chat else {name: field for name, field in value.items() if name != "text"}
    file, _, line = where.rpartition(":")
    key = f"{recording_key(file)}-row-{int(line):07d}"
    language = fields.get("language")
    common: dict[str, Any] = {
        "key": key,
        "language": language if isinstance(language, str) else None,
        "place": {"recording": where, "start": None, "end": None},
        # Parquet has types that JSON lacks: dates, decimals, bytes.
        "metadata": json.loads(json.dumps(fields, default=str)),
    }
    if chat is None:
        text = _document(value["text"])
        return TextRow(key, where, "replay", SampleSource(answer=(SourceSpan(text),), **common), text)
    source = of_chat(chat, recipe.pair_turns.history_turns_max, common)
    return TextRow(key, where, "tqta", source, "\n".join(message.text for message in chat.messages))


def _document(text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise DataError("bad_text", "`text` is no text, or empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError("bad_text", "`text` holds half a character (a lone surrogate)") from None
    return text.strip()


def of_chat(chat: Chat, turns_max: int, common: dict[str, Any]) -> SampleSource:
    """The last question of a conversation and its answer, and some earlier messages."""
    last = chat.last("assistant")
    if last is None:
        raise DataError("no_answer", "the assistant says nothing in it")
    first = 1 if chat.messages[0].role == "system" else 0
    history = chat.messages[first : last - 1]
    return SampleSource(
        answer=(SourceSpan(chat.messages[last].text),),
        question=SourceSpan(chat.messages[last - 1].text),
        history=tuple(map(_message, history[max(0, len(history) - turns_max // 2 * 2) :])),
        system=chat.messages[0].text if first else None,
        **common,
    )


def prompt_group_of(source: SampleSource) -> str:
    """What is on one side of the split: what stands before the last answer, or a document, whatever its case
    and spaces are."""
    said = [part.text or "" for message in source.history for part in message.content]
    said.append(source.question.words if source.question else source.answer[0].words)
    prompt = " ".join("\n".join(said).casefold().split())
    return f"prompt:{hashlib.sha256(prompt.encode()).hexdigest()}"


def _message(message: ChatMessage) -> Message:
    return Message(message.role, (Text(message.text),))
