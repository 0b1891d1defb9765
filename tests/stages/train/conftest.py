from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.hashing import shuffle_key
from schemas.sample import Pair, Sample
from schemas.vocabulary import Vocabulary
from stages.shard import ShardConfig, write_shards
from stages.train.documents import Documents
from stages.train.loop import TrainingData
from tests.stages.train.open_documents import documents_in


@pytest.fixture(scope="session")
def opened() -> Callable[[list[Path]], Documents]:
    return documents_in


@pytest.fixture
def pairs(vocabulary: Vocabulary) -> list[Pair]:
    """Preferences: an audio question, a helpful and an unhelpful answer, both as text and codes."""
    pairs = []
    rng = np.random.default_rng(0)
    for n in range(12):
        prompt = [vocabulary.bot, *vocabulary.encode("human\n"), *_codes(rng, vocabulary, 4), vocabulary.eot]
        sides = [
            [*vocabulary.encode(text), *_codes(rng, vocabulary, 3), vocabulary.eot]
            for text in (f"Number {n} leaves at noon.", "Sorry, I did not hear you.")
        ]
        record = {"family": "preference", "differs_in": "both" if n else "audio"}
        pairs.append(Pair(f"pair-{n:02}", record, *(np.array(ids, np.int32) for ids in (prompt, *sides))))
    return sorted(pairs, key=lambda pair: shuffle_key(pair.key))


def _codes(rng: np.random.Generator, vocabulary: Vocabulary, groups: int) -> list[int]:
    linguistic = vocabulary.linguistic + rng.integers(0, 1024, (groups, 2))
    semantic = vocabulary.semantic + rng.integers(0, 4096, (groups, 3))
    codes = np.concatenate([linguistic, semantic], axis=1).ravel().tolist()
    return [vocabulary.audio_start, *codes, vocabulary.audio_end]


@pytest.fixture
def pair_shards(pairs: list[Pair], tmp_path: Path) -> list[Path]:
    (tmp_path / "pairs").mkdir()
    config = ShardConfig(megabytes=0.02)
    return [shard.path for shard in write_shards(pairs, tmp_path / "pairs", "preference", 0, config)]


@pytest.fixture(scope="session")
def ids() -> dict[str, Any]:
    """A vocabulary with few text ids and codes, so that the head is small."""
    return {
        "specials": {"pad": 0, "bos": 1, "eos": 2},
        "linguistic": {"first": 40, "codes": 10},
        "semantic": {"first": 50, "codes": 20},
        "size": 70,
    }


@pytest.fixture(scope="session")
def sample_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirty samples of two families, of those ids."""
    rng = np.random.default_rng(0)
    samples = []
    for n in range(30):
        family = "tts" if n % 3 else "asr"
        tokens = rng.integers(3, 70, rng.integers(5, 40)).astype(np.int32)
        loss = (np.arange(len(tokens)) > 2).astype(np.uint8)
        samples.append(Sample(f"sample-{n:02}", family, {"family": family}, tokens, loss, ()))
    samples.sort(key=lambda sample: shuffle_key(sample.key))
    folder, config = tmp_path_factory.mktemp("samples"), ShardConfig(megabytes=0.05)
    return [shard.path for shard in write_shards(samples, folder, "train", 0, config)]


@pytest.fixture(scope="session")
def narrow_pair_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve preferences, of those ids; one differs only in its codes."""
    rng = np.random.default_rng(0)
    pairs = []
    for n in range(12):
        prompt, codes = rng.integers(3, 70, 12), rng.integers(40, 70, (2, 10))
        texts = rng.integers(3, 20, 8), rng.integers(20, 40, 6)
        sides = [np.concatenate([text, own]) for text, own in zip(texts, codes, strict=True)]
        record = {"family": "preference", "differs_in": "both" if n else "audio"}
        pairs.append(Pair(f"pair-{n:02}", record, *(each.astype(np.int32) for each in (prompt, *sides))))
    pairs.sort(key=lambda pair: shuffle_key(pair.key))
    folder, config = tmp_path_factory.mktemp("pairs"), ShardConfig(megabytes=0.02)
    return [shard.path for shard in write_shards(pairs, folder, "preference", 0, config)]


@pytest.fixture
def data(ids: dict[str, Any], sample_shards: list[Path]) -> TrainingData:
    return TrainingData(documents_in(sample_shards), ids, {"version": "1"})


@pytest.fixture
def paired(ids: dict[str, Any], narrow_pair_shards: list[Path]) -> TrainingData:
    return TrainingData(documents_in(narrow_pair_shards), ids, {"version": "1"})
