"""Written texts: conversations and plain documents in JSON Lines and Parquet files.

A row with `messages` is a conversation, a row with `text` a document; all other fields become metadata of the
record. A `messages` that is null counts as absent.
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
from schemas.text_files import decoded, lines
from schemas.turn import recording_key
from stages.compose import Family, SampleSource, SourceSpan

VERSION = 1


@dataclass(frozen=True)
class TextFile:
    """A file of texts, as listed."""

    id: str
    """Path relative to its folder; unique in the dataset."""
    uri: str
    bytes: int
    etag: str


@dataclass(frozen=True)
class TextRow:
    """A valid row."""

    key: str
    """Unique in the dataset, [a-z0-9-]."""
    where: str
    """File and line."""
    family: Family
    """The family of the sample that the row becomes."""
    source: SampleSource
    text: str
    """All of its messages, or the document."""


def list_texts(uris: Sequence[str]) -> tuple[TextFile, ...]:
    """The files of a recipe's texts. Raises SetupError if there is none, or two have the same name."""
    by_name: dict[str, TextFile] = {}
    for uri in uris:
        for store, name in list_row_files(uri):
            stored = store.head(name)
            file = TextFile(name, store.join(name), stored.bytes, stored.etag)
            if by_name.setdefault(name, file).uri != file.uri:
                raise SetupError(f"two files of texts are called {name}: rename one of them")
    return tuple(sorted(by_name.values(), key=lambda file: file.id))


def read_texts(file: TextFile, recipe: Recipe) -> Iterator[tuple[str, TextRow | DataError]]:
    """(file and line, the row or its error) of every row, one in memory at a time."""
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
    """Prompts: lines of a text file, or rows with `prompt`, `question`, `text` or `messages`."""
    prompts: list[str] = []
    for uri in uris:
        if not uri.endswith((".jsonl", ".parquet")):
            store, name = split(uri)
            prompts += lines(decoded(store.get(name)).encode("utf-8", "replace").decode())
            continue
        for row in read_rows([uri]):
            try:
                prompts += _prompts(row.value)
            except DataError as error:
                raise SetupError(f"evaluation prompts: {row.where}: {error}") from None
    return [prompt for prompt in prompts if prompt.strip()]


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
    # In Parquet every row has every column: `messages` of a document is null.
    document = isinstance(value, dict) and value.get("messages") is None and "text" in value
    chat = None if document else parse(value, where)
    contents = ("text", "messages")
    fields = chat.fields if chat else {name: field for name, field in value.items() if name not in contents}
    file, _, line = where.rpartition(":")
    key = f"{recording_key(file)}-row-{int(line):07d}"
    language = fields.get("language")
    common: dict[str, Any] = {
        "key": key,
        "language": language if isinstance(language, str) else None,
        "origin": {"recording": where, "start": None, "end": None},
        # Parquet has types that JSON doesn't have: dates, decimals, bytes.
        "metadata": json.loads(json.dumps(fields, default=str)),
    }
    if chat is None:
        text = _document(value["text"])
        return TextRow(key, where, "replay", SampleSource(answer=(SourceSpan(text),), **common), text)
    source = of_chat(chat, recipe.pair_turns.history_turns_max, common)
    return TextRow(key, where, "tqta", source, "\n".join(message.text for message in chat.messages))


def _document(text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise DataError("bad_text", "`text` is not a text, or empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError("bad_text", "`text` contains a lone surrogate, which is not valid Unicode") from None
    return text.strip()


def of_chat(chat: Chat, turns_max: int, common: dict[str, Any]) -> SampleSource:
    """The last question of a conversation, its answer, and at most `turns_max` earlier messages."""
    last = chat.last("assistant")
    if last is None:
        raise DataError("no_answer", "the assistant has no message in it")
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
    """The key that keeps equal prompts in one split: a hash of everything before the last answer, or of a
    document, ignoring case and white space."""
    texts = [part.text or "" for message in source.history for part in message.content]
    texts.append(source.question.words if source.question else source.answer[0].words)
    prompt = " ".join("\n".join(texts).casefold().split())
    return f"prompt:{hashlib.sha256(prompt.encode()).hexdigest()}"


def _message(message: ChatMessage) -> Message:
    return Message(message.role, (Text(message.text),))
