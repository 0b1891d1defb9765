"""Who the speakers of a dataset are, decided over all of its recordings from their stored embeddings."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.inputs.voices import voice_files
from pipeline.models import resolve
from pipeline.pack.groups import Group
from pipeline.storage.store import Store
from schemas.errors import DataError, SetupError
from schemas.recording import Recording
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from stages.diarize.clustering import unit
from stages.diarize.embedding import PIECE, SpeakerEmbedding
from stages.identify import Identity, Vectors, identify
from stages.stage import SAMPLE_RATE
from stages.tokenize.resample import to_16k


@dataclass(frozen=True)
class SpeakerRow:
    """A speaker of a recording."""

    key: str
    seconds: float
    embedding: tuple[float, ...]


def speaker_key(recording: str, speaker: str) -> str:
    """Names a speaker of a recording in the whole dataset."""
    return f"{recording} {speaker}"


def speaker_rows(group: Group, dataset: Store) -> Iterator[SpeakerRow]:
    """The speakers of a group whose voices are known."""
    for recording in group.recordings(dataset):
        yield from _speakers(recording)


def _speakers(recording: Recording) -> Iterator[SpeakerRow]:
    result = recording.diarize.result if recording.diarize else None
    for speaker in result.speakers if result else ():
        if speaker.embedding:
            yield SpeakerRow(speaker_key(recording.id, speaker.name), speaker.seconds, speaker.embedding)


def identities_of(speakers: pa.Table, recipe: Recipe) -> dict[str, Identity]:
    """Key of a speaker -> who it is."""
    if not speakers.num_rows:
        return {}
    vectors = np.array(speakers["embedding"].to_pylist())
    voices = enrolled_voices(recipe) if recipe.identify.voices else {}
    return identify(
        speakers["key"].to_pylist(), speakers["seconds"].to_pylist(), vectors, voices, recipe.identify
    )


def enrolled_voices(recipe: Recipe) -> dict[str, Vectors]:
    """Person -> the mean of the embeddings of their recordings, weighted by length.

    Raises SetupError for a recording that can't be read, or is too short.
    """
    uri = recipe.identify.voices
    assert uri is not None
    store, embedding = Store(uri), SpeakerEmbedding(resolve(recipe.diarize.embedding).path)
    return {
        person: unit(np.sum([_voice(store, path, embedding) for path in paths], axis=0))
        for person, paths in voice_files(uri).items()
    }


def _voice(store: Store, path: str, embedding: SpeakerEmbedding) -> Vectors:
    """The sum of the embeddings of a recording's pieces."""
    try:
        with store.local(path) as file:
            samples = to_16k(*read_whole(file, DecodeConfig()))
    except DataError as error:
        raise SetupError(f"identify.voices: {store.join(path)}: {error}: remove it, or replace it") from None
    size = int(PIECE * SAMPLE_RATE)
    vectors = embedding([samples[first : first + size] for first in range(0, len(samples), size)])
    heard = vectors[~np.isnan(vectors[:, 0])]
    if not len(heard):
        raise SetupError(f"identify.voices: {store.join(path)} is too short: give some seconds of speech")
    total: Vectors = heard.sum(axis=0)
    return total
