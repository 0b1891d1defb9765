"""Where a training is kept: one folder per stage, on this machine while it is in progress, and in its output.

An output on object storage receives a stage when the stage is finished. Until then the stage, with its
checkpoints, is in `scratch`, which all workers must see.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.models import is_reference, located
from pipeline.storage.store import Store
from pipeline.storage.uri import normalize_uri
from pipeline.training.recipe import TrainingRecipe
from schemas.errors import SetupError

MODEL = "model"
RUN = "run.json"
INDEX = "index"
"""Folder of the indices of versions' shards."""
_CHUNK_BYTES = 8 * 1024 * 1024


class TrainingFolder:
    def __init__(self, recipe: TrainingRecipe) -> None:
        self.store = Store(f"{recipe.output}/{recipe.name}")
        self.scratch = Path(recipe.scratch or _default_scratch()).expanduser()
        self.local = self.store.directory if self.store.is_local else self.scratch / _short(self.store.uri)

    def stage(self, name: str) -> Path:
        return self.local / name

    def model(self, name: str) -> Path:
        return self.stage(name) / MODEL

    def model_uri(self, name: str) -> str:
        """Where a user finds the model of a stage."""
        return str(self.model(name)) if self.store.is_local else self.store.join(f"{name}/{MODEL}")

    def is_done(self, name: str) -> bool:
        """Whether a stage is finished. One that only the output has is downloaded."""
        if self.model(name).exists():
            return True
        if self.store.is_local or not self.store.exists(f"{name}/{RUN}"):
            return False
        with built_once(self.stage(name), complete_with=MODEL) as folder:
            _download(self.store, name, folder)
        return True

    def publish(self, name: str) -> None:
        """Copy a finished stage to the recipe's output, its record last."""
        if self.store.is_local or self.store.exists(f"{name}/{RUN}"):
            return
        files = [*self.stage(name).glob("*"), *self.model(name).rglob("*")]
        for file in sorted(files, key=lambda file: file.name == RUN):
            if file.is_file() and not file.name.startswith("."):
                self.store.put_new(f"{name}/{file.relative_to(self.stage(name))}", file)

    def checkpoint(self, uri: str) -> Path:
        """A checkpoint outside this training, a path, URI or model reference, as a folder on this machine.
        Raises SetupError."""
        if is_reference(uri):
            return located(uri)
        store = Store(normalize_uri(uri))
        folder = store.directory if store.is_local else self.scratch / _short(store.uri)
        if not store.is_local and not (folder / "config.json").exists():
            with built_once(folder, complete_with="config.json") as partial:
                _download(store, "", partial)
        if not (folder / "config.json").is_file():
            raise SetupError(f"{uri} is not a checkpoint: it has no config.json")
        return folder

    def check_writable(self) -> None:
        """Raise SetupError if nothing can be written."""
        try:
            self.store.check_writable()
            self.local.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"can't write to {self.store.uri}: {error.strerror or error}") from error


@contextmanager
def built_once(folder: Path, complete_with: str) -> Iterator[Path]:
    """A path to build a folder at; afterwards it is renamed to `folder`, which therefore exists completely or
    not at all.

    Several processes may build the same folder at once: the first to finish wins, and the others drop their
    copies. A folder that lacks `complete_with`, the name of a file or folder in it, is incomplete and is
    replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        partial = temporary / "new"
        yield partial
        if partial.exists():
            _move_into_place(partial, folder, complete_with, temporary / "incomplete")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(partial: Path, folder: Path, complete_with: str, discarded: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        if (folder / complete_with).exists():
            return  # another process was first
        if not folder.is_dir():
            raise
        folder.rename(discarded)
        partial.rename(folder)


def _download(store: Store, prefix: str, folder: Path) -> None:
    """Everything under a prefix."""
    for item in store.list(prefix):
        target = folder / item.path.removeprefix(f"{prefix}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.open(item.path) as content, target.open("wb") as out:
            shutil.copyfileobj(content, out, _CHUNK_BYTES)


def _default_scratch() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aqaa-data" / "training")


def _short(uri: str) -> str:
    return f"{uri.rpartition('/')[2]}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"
