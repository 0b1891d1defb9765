"""Audio of sampled answers: recordings that only rows of candidates name.

They are annotated like any other, for their codes, and become no samples of their own: what a model has said
is no example, unless somebody finds it better than something else.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.row_files import list_row_files, read_rows
from pipeline.storage.store import split
from pipeline.storage.uri import normal
from schemas.errors import SetupError

_REQUESTS = 32
"""Beside each other, to see which files are there."""


def sampled_audio(uris: Sequence[str], known: Collection[str]) -> tuple[ListedRecording, ...]:
    """What rows of candidates name as audio, beside their file, but for the recordings that are `known`.

    A file that isn't there is left out: its row is set aside when it is read. Raises SetupError where one
    name means two files.
    """
    places: dict[str, str] = {}
    for uri in uris:
        for store, name in list_row_files(uri):
            folder, _ = split(store.join(name))
            for row in read_rows([store.join(name)]):
                for named in _named(row.value):
                    elsewhere = "://" in named or named.startswith("/")
                    place = normal(named) if elsewhere else folder.join(named)
                    if named not in known and places.setdefault(named, place) != place:
                        raise SetupError(
                            f"two files of candidates name an audio {named}: give one of them another name"
                        )
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return tuple(found for found in pool.map(_seen, places, places.values()) if found)


def _named(row: Any) -> Iterator[str]:
    """The audio of a prompt and of its answers, as far as they name some."""
    answers = row.get("answers") if isinstance(row, dict) else None
    for one in (row, *(answers if isinstance(answers, list) else ())):
        if isinstance(one, dict) and isinstance(one.get("audio"), str) and one.get("codes") is None:
            yield one["audio"]


def _seen(id: str, uri: str) -> ListedRecording | None:
    store, name = split(uri)
    try:
        found = store.head(name)
    except FileNotFoundError:
        return None
    return ListedRecording(id, uri, found.bytes, found.etag, None, ())
