"""Step 4: steps under FSDP, compiled, recomputed and in bfloat16, against plain ones in float32."""

from collections.abc import Iterator

from stages.train.config import TrainConfig
from stages.train.shape import PRESETS
from tests.benchmarks.first_steps import first_steps
from tests.benchmarks.training_memory import IDS
from tests.gpu.check.documents import random_data
from tests.gpu.check.setting import Facts, Setting, at_most

STEPS = 3


def measure(setting: Setting) -> Iterator[Facts]:
    length = setting.pick(2048, 128)
    shape = PRESETS[setting.pick("small", "tiny")].with_vocabulary(-(-IDS["size"] // 64) * 64)
    plain = TrainConfig(sequence_length=length, global_batch_size=4, micro_batch=2, precision="float32")
    fused = {"compile": True, "activation_checkpointing": True}
    variants = {"plain": {}, "compiled": fused, "compiled_bfloat16": fused | {"precision": "bfloat16"}}
    for objective in ("sft", "dpo"):
        data = random_data(setting.folder / objective, objective, length, 24, length // 4)
        exact: dict[str, float] = {}
        for name, changes in variants.items():
            config = plain.model_copy(update={"objective": objective, **changes})
            lines = first_steps(shape, config, data, STEPS)
            exact = exact or lines[0]
            yield {f"{objective}_{name}_losses": [round(line["loss"], 5) for line in lines]}
            most = 2e-2 if "bfloat16" in name else 1e-3
            for key, looser in (("loss", 1), ("gradient_norm", 5)):
                off = abs(lines[0][key] / exact[key] - 1)
                yield at_most(f"{objective}_{name}_{key}_apart", off, looser * most)
