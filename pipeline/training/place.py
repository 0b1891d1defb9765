"""Where a training lies: a folder for each stage, on this machine while it is worked on, and in its output.

An output on object storage gets a stage when it is finished; until then the stage, with its checkpoints, lies
in `scratch`, which all workers must see.
"""

import hashlib
import os
from pathlib import Path

from pipeline.storage.store import Store
from pipeline.storage.uri import normal
from pipeline.training.recipe import TrainingRecipe
from schemas.errors import SetupError

MODEL = "model"
RUN = "run.json"
INDEX = "index"
"""Folder of the indices of versions' shards."""


class Place:
    def __init__(self, recipe: TrainingRecipe) -> None:
        self.store = Store(f"{recipe.output}/{recipe.name}")
        self.scratch = Path(recipe.scratch or _cache()).expanduser()
        self.folder = self.store.directory if self.store.is_local else self.scratch / _short(self.store.uri)

    def stage(self, name: str) -> Path:
        return self.folder / name

    def model(self, name: str) -> Path:
        return self.stage(name) / MODEL

    def shown(self, name: str) -> str:
        """Where a user finds the model of a stage."""
        return str(self.model(name)) if self.store.is_local else self.store.join(f"{name}/{MODEL}")

    def is_done(self, name: str) -> bool:
        """Whether a stage is finished; where only the output has it, it is fetched."""
        if self.model(name).exists():
            return True
        if self.store.is_local or not self.store.exists(f"{name}/{RUN}"):
            return False
        _download(self.store, name, self.stage(name))
        return True

    def publish(self, name: str) -> None:
        """Put a finished stage where the recipe wants it, its record last."""
        if self.store.is_local or self.store.exists(f"{name}/{RUN}"):
            return
        files = [*self.stage(name).glob("*"), *self.model(name).rglob("*")]
        for file in sorted(files, key=lambda file: file.name == RUN):
            if file.is_file() and not file.name.startswith("."):
                self.store.put_new(f"{name}/{file.relative_to(self.stage(name))}", file)

    def checkpoint(self, place: str) -> Path:
        """A checkpoint that lies elsewhere, as a folder on this machine. Raises SetupError."""
        store = Store(normal(place))
        folder = store.directory if store.is_local else self.scratch / _short(store.uri)
        if not store.is_local and not (folder / "config.json").exists():
            _download(store, "", folder)
        if not (folder / "config.json").is_file():
            raise SetupError(f"{place} is no checkpoint: there is no config.json in it")
        return folder

    def check_writable(self) -> None:
        """Raise SetupError where nothing can be written."""
        try:
            self.store.check_writable()
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"can't write to {self.store.uri}: {error.strerror or error}") from error


def _download(store: Store, prefix: str, folder: Path) -> None:
    """All that lies under a prefix, there wholly or not at all."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    for item in store.list(prefix):
        target = partial / item.path.removeprefix(f"{prefix}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.open(item.path) as content, target.open("wb") as out:
            while chunk := content.read(8 * 1024 * 1024):
                out.write(chunk)
    if partial.exists():
        partial.rename(folder)


def _cache() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aqaa-data" / "training")


def _short(uri: str) -> str:
    return f"{uri.rpartition('/')[2]}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"
