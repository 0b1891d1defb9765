"""Step 5: speed and memory of training `step1-3b` on one GPU, SFT and DPO, against what `--plan` says."""

from collections.abc import Iterator

import numpy as np

from stages.train.config import TrainConfig
from stages.train.plan import memory_of
from stages.train.shape import PRESETS
from tests.benchmarks.first_steps import first_steps
from tests.benchmarks.training_memory import IDS
from tests.gpu.check.documents import random_data
from tests.gpu.check.setting import Facts, Setting

WARM_UP = 2
"""Steps that are not timed, in which kernels are compiled."""


def measure(setting: Setting) -> Iterator[Facts]:
    length = setting.pick(8192, 256)
    shape = PRESETS[setting.pick("step1-3b", "tiny")].with_vocabulary(-(-IDS["size"] // 64) * 64)
    steps = WARM_UP + setting.pick(4, 1)
    for objective in ("sft", "dpo"):
        data = random_data(setting.folder / objective, objective, length, setting.pick(260, 24), length // 10)
        config = TrainConfig(
            objective=objective,  # type: ignore[arg-type]
            sequence_length=length,
            global_batch_size=setting.pick(4, 2),
            precision="bfloat16",
            activation_checkpointing=True,
            compile=setting.on_gpu,
        )
        setting.reset_peak()
        lines = first_steps(shape, config, data, steps)
        timed = lines[WARM_UP:]
        seconds = [line["tokens"] / line["tokens_per_second"] for line in timed]
        yield {
            f"{objective}_tokens_per_second": round(sum(line["tokens"] for line in timed) / sum(seconds)),
            f"{objective}_mfu": mfu([line.get("mfu") for line in timed], seconds),
            f"{objective}_peak_gb": setting.peak_gb(),
            f"{objective}_planned_gb": round(memory_of(shape, config, 1, setting.on_gpu).total / 1e9, 2),
            f"{objective}_losses": [round(line["loss"], 4) for line in lines],
        }


def mfu(shares: list[float | None], seconds: list[float]) -> float | None:
    """The share of the GPU's peak over all steps; None if the peak is unknown."""
    known = [share for share in shares if share is not None]
    return round(float(np.average(known, weights=seconds)), 4) if len(known) == len(shares) else None
