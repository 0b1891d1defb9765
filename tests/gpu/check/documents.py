"""Training data of random ids in shards."""

from pathlib import Path

import numpy as np

from schemas.sample import Pair, Sample
from stages.shard import ShardConfig, shuffle_key, write_shards
from stages.train.loop import TrainingData
from tests.benchmarks.training_memory import IDS
from tests.stages.train.open_documents import documents_in


def random_data(folder: Path, objective: str, length: int, documents: int, mean: int) -> TrainingData:
    """Samples or pairs of about `mean` ids and at most `length`."""
    rng = np.random.default_rng(0)
    made: list[Sample | Pair] = []
    for n in range(documents):
        size = int(min(length // 2, rng.integers(mean // 2, 3 * mean // 2)))
        if objective == "dpo":
            parts = (rng.integers(3, 50_000, size // part).astype(np.int32) for part in (2, 3, 4))
            made.append(Pair(f"pair-{n}", {"family": "preference", "differs_in": "both"}, *parts))
        else:
            ids = rng.integers(3, IDS["size"], size).astype(np.int32)
            loss = (np.arange(size) >= size // 4).astype(np.uint8)
            made.append(Sample(f"sample-{n}", "aqtaa", {"family": "aqtaa"}, ids, loss, ()))
    made.sort(key=lambda sample: shuffle_key(sample.key))
    folder.mkdir()
    shards = [shard.path for shard in write_shards(made, folder, objective, 0, ShardConfig())]
    return TrainingData(documents_in(shards), IDS, {"version": "random"})
