"""Samples as chats in JSON Lines, for trainers of text and audio.

`train.jsonl` and `validation.jsonl` have a line per sample with `messages`, `train-preference.jsonl` one per
pair with `prompt`, `chosen` and `rejected`. Content is a list of parts of text and audio files, or one string
in which audio is the tokens of a single codebook.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.export.annotated import AnnotatedRecordings
from pipeline.export.json_lines import json_line
from pipeline.export.recording_clips import clip, spooled
from pipeline.versions.reader import Version
from pipeline.versions.samples import PublishedSample, samples_of
from schemas.manifest import Shard
from schemas.turn import recording_key

AUDIO = "audio"
ROLES = {"human": "user"}
"""Roles that have another name in chats."""

Message = dict[str, Any]
Content = Callable[[PublishedSample, Message], Any]
"""(sample, message of its record) -> the content of the message in a chat."""


ShardWriter = Callable[[Shard, Path, int], int]
"""(shard, folder, number) -> the number of its samples that are written into the folder."""


def chat_writer(version: Version, has: Callable[[str], bool]) -> ShardWriter:
    """Writes chats whose audio parts name files under `audio`, 16 kHz FLAC; `has` says which of these files
    another shard has brought.

    Raises SetupError if annotations aren't there, or a recording can't be read.
    """
    recordings = AnnotatedRecordings(version)

    def write_audio(samples: list[PublishedSample], folder: Path) -> None:
        (folder / AUDIO).mkdir()
        for id, parts in groupby(sorted(map(_place, _audio_parts(samples))), lambda place: place[0]):
            places = [place for place in dict.fromkeys(parts) if not has(_file(*place))]
            with spooled(version) as audio:
                for place in places:
                    (folder / _file(*place)).write_bytes(clip(audio, recordings.find(id), *place[1:]))

    return partial(_write, version, _parts_content, write_audio)


def chat_codes_writer(version: Version) -> ShardWriter:
    """Writes chats of text and of the semantic codes alone, as
    `<|begin_of_audio|><|audio_17|>..<|end_of_audio|>` behind the text of their message."""
    first = int(version.manifest.vocabulary["semantic"]["first"])
    end = first + int(version.manifest.vocabulary["semantic"]["codes"])

    def content(sample: PublishedSample, message: Message) -> str:
        tokens = sample.tokens
        if message is sample.record.get("rejected"):
            tokens = sample.rejected
        text = "".join(part["text"] or "" for part in message["content"] if part["type"] == "text")
        spans = [span for part in message["content"] if part["type"] == "audio" for span in part["spans"]]
        codes = [int(id) - first for begin, stop in spans for id in tokens[begin:stop] if first <= id < end]
        audio = "".join(f"<|audio_{code}|>" for code in codes)
        return f"{text}<|begin_of_audio|>{audio}<|end_of_audio|>" if spans else text

    return partial(_write, version, content, lambda *_: None)


def _write(
    version: Version,
    content: Content,
    write_audio: Callable[[list[PublishedSample], Path], None],
    shard: Shard,
    folder: Path,
    _: int,
) -> int:
    """Write the chats of a shard. Documents have no roles and are left out."""
    chats = [
        sample
        for sample in samples_of(version, shard)
        if all(message["role"] for message in sample.record["messages"])
    ]
    write_audio(chats, folder)
    for pairs, name in ((False, f"{shard.split}.jsonl"), (True, f"{shard.split}-preference.jsonl")):
        if lines := [_line(chat, content) for chat in chats if ("chosen" in chat.record) == pairs]:
            with (folder / name).open("w", encoding="utf-8") as file:
                file.writelines(json_line(line) + "\n" for line in lines)
    return len(chats)


def _line(sample: PublishedSample, content: Content) -> dict[str, Any]:
    record = sample.record

    def chat(messages: list[Message]) -> list[Message]:
        return [
            {"role": ROLES.get(message["role"], message["role"]), "content": content(sample, message)}
            for message in messages
        ]

    line = {"id": sample.key, "family": sample.family, "language": record["language"]}
    if "chosen" in record:
        pair = {name: chat([record[name]]) for name in ("chosen", "rejected")}
        return line | {"prompt": chat(record["messages"])} | pair
    return line | {"messages": chat(record["messages"])}


def _parts_content(_: PublishedSample, message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "audio", "audio": _file(*_place(part)), "text": part["text"]}
        if part["type"] == "audio"
        else {"type": "text", "text": part["text"]}
        for part in message["content"]
    ]


def _audio_parts(samples: list[PublishedSample]) -> Iterator[dict[str, Any]]:
    for sample in samples:
        answers = [sample.record[name] for name in ("chosen", "rejected") if name in sample.record]
        for message in (*sample.record["messages"], *answers):
            yield from (part for part in message["content"] if part["type"] == "audio")


Place = tuple[str, int, float, float]
"""Recording, track, start and end in seconds."""


def _place(part: dict[str, Any]) -> Place:
    return part["recording"], part["track"], part["start"], part["end"]


def _file(recording: str, track: int, start: float, end: float) -> str:
    """The path of a clip in the folder."""
    return f"{AUDIO}/{recording_key(recording)}-{track}-{round(start * 1000)}-{round(end * 1000)}.flac"
