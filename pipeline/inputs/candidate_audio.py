"""Audio of sampled answers: recordings that only rows of candidates name.

They are annotated like any other recording to get their codes, but become no samples of their own: the answer
of a model is not an example to learn from unless a rater or judge prefers it.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.row_files import list_row_files, read_rows
from pipeline.storage.store import split
from pipeline.storage.uri import normalize_uri
from schemas.errors import SetupError

_REQUESTS = 32
"""Concurrent requests to see which files exist."""


def sampled_audio(uris: Sequence[str], known: Collection[str]) -> tuple[ListedRecording, ...]:
    """The audio that rows of candidates name, relative to their file, without the recordings in `known`.

    A missing file is left out: its row is set aside when it is read. Raises SetupError if one name means two
    files.
    """
    uri_of: dict[str, str] = {}
    for uri in uris:
        for store, name in list_row_files(uri):
            folder, _ = split(store.join(name))
            for row in read_rows([store.join(name)]):
                for audio in _audio_of(row.value):
                    absolute = "://" in audio or audio.startswith("/")
                    audio_uri = normalize_uri(audio) if absolute else folder.join(audio)
                    if audio not in known and uri_of.setdefault(audio, audio_uri) != audio_uri:
                        raise SetupError(
                            f"two files of candidates name the audio {audio}: rename one of them"
                        )
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return tuple(item for item in pool.map(_stat, uri_of, uri_of.values()) if item)


def _audio_of(row: Any) -> Iterator[str]:
    """The audio that a prompt and its answers name, if any."""
    answers = row.get("answers") if isinstance(row, dict) else None
    for one in (row, *(answers if isinstance(answers, list) else ())):
        if isinstance(one, dict) and isinstance(one.get("audio"), str) and one.get("codes") is None:
            yield one["audio"]


def _stat(id: str, uri: str) -> ListedRecording | None:
    store, name = split(uri)
    try:
        stored = store.head(name)
    except FileNotFoundError:
        return None
    return ListedRecording(id, uri, stored.bytes, stored.etag, None, ())
