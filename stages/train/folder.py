"""The folder of a run: its files, and the record of which run it belongs to."""

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.stage import Config
from stages.train.config import RENAMED_SETTINGS

RUN = "run.json"
"""The run's record: its settings, its start and the identity of its data."""
METRICS = "metrics.jsonl"
BOARD = "tensorboard"
ANSWERS = "answers"
"""Validation: the answers of the model in training, and the metrics of a step that sum them up."""
VALIDATION = "validation"
"""The loss on the validation side, in the metrics of a step."""
PACKING = "packing.npz"
LEFT_OUT = "left_out.json"
"""Keys of documents longer than a sequence, and of pairs with equal texts if audio is masked."""
CHECKPOINTS = "checkpoints"
BASE = "base.txt"
"""Hash of the frozen weights that adapters are trained for."""
MODEL = "model"
"""The finished model."""


def recorded(config: Config, exclude: Collection[str] = ()) -> dict[str, Any]:
    """Settings as a run's record has them. `precision: auto` counts as the bfloat16 that it stands for where
    there is a choice, and that was the default of earlier releases: a run may go on where it is float32."""
    settings = config.model_dump(mode="json", exclude=set(exclude))
    return settings | ({"precision": "bfloat16"} if settings["precision"] == "auto" else {})


def claim(folder: Path, identity: dict[str, Any], place: str | None = None) -> None:
    """Record which run a folder belongs to. Raises SetupError if it belongs to another, which names
    `place` if the folder is a temporary one of what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN
    if not file.exists():
        written(file, lambda path: path.write_text(json.dumps(identity, indent=2) + "\n"))
    existing, wanted = flat(read_record(folder)), flat(json.loads(json.dumps(identity)))
    for key, value in wanted.items():
        of_section = (name for name in existing if value is None and name.startswith(f"{key}."))
        held = next(of_section, key)
        if existing.get(held) != value:
            raise SetupError(
                f"{place or folder} holds another run: its {held} is {existing.get(held)}, not {value}. "
                "Choose another folder for this one"
            )


def claim_base(folder: Path, base: str, place: str | None = None) -> None:
    """Record the weights that adapters are trained for. Raises SetupError if they were others, as `claim`
    does."""
    file = folder / BASE
    if not file.exists():
        written(file, lambda path: path.write_text(f"{base}\n"))
    elif file.read_text().strip() != base:
        raise SetupError(
            f"{place or folder}: the weights that it starts from have changed since, and its adapters are "
            "made for the earlier ones. Restore those, or choose another folder"
        )


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder's run, with the current names of its settings: when the run was started, some of
    them may have had other names."""
    record: dict[str, Any] = json.loads((folder / RUN).read_text())
    settings = record.get("config", {})
    return record | {"config": {RENAMED_SETTINGS.get(name, name): settings[name] for name in settings}}


def flat(value: dict[str, Any], prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one, with the keys on the path to a value joined."""
    flattened: dict[str, Any] = {}
    for key, inner in value.items():
        nested = isinstance(inner, dict)
        flattened |= (
            flat(inner, f"{prefix}{key}{separator}", separator) if nested else {f"{prefix}{key}": inner}
        )
    return flattened


def emptied(folder: Path) -> Path:
    """Create a folder, or remove everything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def written(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it exists completely or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    write(partial)
    partial.rename(file)
