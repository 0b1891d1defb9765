import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from schemas.sample import Pair
from schemas.vocabulary import Vocabulary
from stages.shard import mixed, write_shards
from stages.train.documents import Documents, index_shard


def documents_in(shards: list[Path]) -> Documents:
    """Shards on local disk."""

    def read(number: int, start: int, size: int) -> bytes:
        with shards[number].open("rb") as file:
            return os.pread(file.fileno(), size, start)

    tables = []
    for number, path in enumerate(shards):
        with path.open("rb") as file:
            tables.append(index_shard(file, number))
    return Documents(pa.concat_tables(tables), read)


@pytest.fixture(scope="session")
def opened() -> Callable[[list[Path]], Documents]:
    return documents_in


@pytest.fixture
def pairs(vocabulary: Vocabulary) -> list[Pair]:
    """Preferences: an audio question, a telling and a deaf answer, both as text and codes."""
    made = []
    rng = np.random.default_rng(0)
    for n in range(12):
        prompt = [vocabulary.bot, *vocabulary.encode("human\n"), *_codes(rng, vocabulary, 4), vocabulary.eot]
        sides = [
            [*vocabulary.encode(said), *_codes(rng, vocabulary, 3), vocabulary.eot]
            for said in (f"Number {n} leaves at noon.", "Sorry, I did not hear you.")
        ]
        record = {"family": "preference", "differs_in": "both" if n else "audio"}
        made.append(Pair(f"pair-{n:02}", record, *(np.array(ids, np.int32) for ids in (prompt, *sides))))
    return sorted(made, key=lambda pair: mixed(pair.key))


def _codes(rng: np.random.Generator, vocabulary: Vocabulary, groups: int) -> list[int]:
    linguistic = vocabulary.linguistic + rng.integers(0, 1024, (groups, 2))
    semantic = vocabulary.semantic + rng.integers(0, 4096, (groups, 3))
    codes = np.concatenate([linguistic, semantic], axis=1).ravel().tolist()
    return [vocabulary.audio_start, *codes, vocabulary.audio_end]


@pytest.fixture
def pair_shards(pairs: list[Pair], tmp_path: Path) -> list[Path]:
    from stages.shard import ShardConfig

    (tmp_path / "pairs").mkdir()
    config = ShardConfig(megabytes=0.02)
    return [shard.path for shard in write_shards(pairs, tmp_path / "pairs", "preference", 0, config)]
