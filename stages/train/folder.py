"""The folder of a run: what stands where in it, and whose it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.train.config import RENAMED_SETTINGS

RUN = "run.json"
"""What the run is: its settings, its start and the data's identity."""
METRICS = "metrics.jsonl"
BOARD = "tensorboard"
PACKING = "packing.npz"
LEFT_OUT = "left_out.json"
"""Keys of documents longer than a sequence, and of pairs whose texts are equal where audio is masked."""
CHECKPOINTS = "checkpoints"
MODEL = "model"
"""The finished model."""


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Write down what a folder's run is. Raises SetupError where it holds another."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN
    if not file.exists():
        written(file, lambda path: path.write_text(json.dumps(identity, indent=2) + "\n"))
    there = flat(read_record(folder))
    for key, value in flat(json.loads(json.dumps(identity))).items():
        if there.get(key) != value:
            raise SetupError(
                f"{folder} holds another run: its {key} is {there.get(key)}, not {value}. "
                "Name another folder for this one."
            )


def read_record(folder: Path) -> dict[str, Any]:
    """What the run of a folder is, with the current names of its settings: it may have been started when some
    had other names."""
    record: dict[str, Any] = json.loads((folder / RUN).read_text())
    settings = record.get("config", {})
    return record | {"config": {RENAMED_SETTINGS.get(name, name): settings[name] for name in settings}}


def flat(value: dict[str, Any], prefix: str = "", between: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one, with the keys on the way to a value joined."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        nested = isinstance(inner, dict)
        found |= flat(inner, f"{prefix}{key}{between}", between) if nested else {f"{prefix}{key}": inner}
    return found


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def written(file: Path, write: Callable[[Path], Any]) -> None:
    """A file that is there wholly or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    write(partial)
    partial.rename(file)
