"""Records of runs as they were written before settings were renamed."""

import json
from pathlib import Path

OLD_NAMES = {
    "global_batch_size": "batch",
    "tensor_parallel": "tensor",
    "activation_checkpointing": "recompute",
    "embedding_lr_multiplier": "embedding_rate",
    "max_grad_norm": "clip",
}


def use_old_names(folder: Path) -> None:
    """Rewrite the record of a run, `run.json`, with the old names of its settings."""
    file = folder / "run.json"
    record = json.loads(file.read_text())
    config = {OLD_NAMES.get(name, name): value for name, value in record["config"].items()}
    assert config.keys() != record["config"].keys()
    file.write_text(json.dumps(record | {"config": config}, indent=2) + "\n")
