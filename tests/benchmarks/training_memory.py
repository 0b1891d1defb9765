"""Peak memory of training on a CPU, and the estimate of `--plan`. Linux only:

MALLOC_MMAP_THRESHOLD_=262144 python tests/benchmarks/training_memory.py small --sequence-length 1024

Without the variable the C library keeps freed memory, and a process grows by a quarter more than it uses.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from schemas.sample import Sample
from stages.shard import ShardConfig, shuffle_key, write_shards
from stages.train.config import TrainConfig
from stages.train.documents import Documents, Range, index_shard
from stages.train.loop import TrainingData
from stages.train.plan import memory_of
from stages.train.run import Start, run

IDS = {
    "name": "random",
    "specials": {"pad": 0, "bos": 1, "eos": 2},
    "linguistic": {"first": 50264, "codes": 1024},
    "semantic": {"first": 51288, "codes": 4096},
    "size": 55384,
}
"""As many ids as the embedded vocabulary has."""


def random_data(folder: Path, length: int) -> TrainingData:
    """Documents that fill four sequences, every token a target."""
    rng = np.random.default_rng(0)
    loss = np.ones(length, np.uint8)
    samples = [
        Sample(f"sample-{n}", "aqtaa", {"family": "aqtaa"}, rng.integers(3, IDS["size"], length), loss, ())
        for n in range(4)
    ]
    samples.sort(key=lambda sample: shuffle_key(sample.key))
    (shard,) = (file.path for file in write_shards(samples, folder, f"of-{length}", 0, ShardConfig()))
    with shard.open("rb") as file:
        index = index_shard(file, 0)

    def read(ranges: Sequence[Range]) -> list[bytes]:
        with shard.open("rb") as file:
            return [os.pread(file.fileno(), size, start) for _, start, size in ranges]

    return TrainingData(Documents(pa.table(index), read), IDS, {})


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, or VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def measured(preset: str, config: TrainConfig) -> int:
    """Peak bytes of the first steps of a run, minus what the process used before."""
    with tempfile.TemporaryDirectory() as folder:
        data, short = (random_data(Path(folder), length) for length in (config.sequence_length, 64))
        # Libraries that are loaded once don't count.
        warm = config.model_copy(update={"sequence_length": 64, "steps": 1})
        run(warm, lambda: short, Start(preset="tiny"), Path(folder) / "warm")
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        run(config, lambda: data, Start(preset=preset), Path(folder) / "run")
        return resident("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--sequence-length", type=int, default=1024)
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--activation-checkpointing", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainConfig(
        sequence_length=arguments.sequence_length,
        global_batch_size=2 * arguments.micro_batch,
        micro_batch=arguments.micro_batch,
        precision=arguments.precision,
        activation_checkpointing=arguments.activation_checkpointing,
        steps=2,
    )
    shape = Start(preset=arguments.preset).blank(IDS["size"]).shape
    planned = memory_of(shape, config, devices=1, on_gpu=False)
    actual = measured(arguments.preset, config)
    print(json.dumps({"measured": actual, "planned": planned.total, "share": planned.total / actual}))
    print(planned.line())


if __name__ == "__main__":
    main()
