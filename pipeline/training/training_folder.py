"""Where a training is kept: one folder per stage in its output, a directory that all nodes see or a bucket.

Of a stage in a bucket each process has a temporary folder of its own in `scratch`, on the disk of its node.
It begins with the files that the bucket has of the stage, and the first process puts back what changes.
Checkpoints are written to the bucket and read from it without such a copy; a finished model is copied once to
each node that needs it.
"""

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from pipeline.models import is_reference, located
from pipeline.storage.copies import Copies
from pipeline.storage.store import Store
from pipeline.storage.uri import normalize_uri
from pipeline.training.launch import is_first
from pipeline.training.locks import alone_in, locked_folder
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.stored_files import StoredFiles
from schemas.errors import SetupError

MODEL = "model"
RUN = "run.json"
INDEX = "index"
"""Folder of the indices of versions' shards."""
CONFIG = "config.json"
"""The file of a model that is uploaded last: a model without it is not complete."""
_POLL_SECONDS = 2.0


class TrainingFolder:
    """Pickles without its temporary folder."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        self._recipe = recipe
        self.store = Store(f"{recipe.output}/{recipe.name}")
        self.scratch = Path(recipe.scratch or _default_scratch()).expanduser()
        self.copies = Copies(self.scratch)
        self._stages: dict[str, StoredFiles] = {}
        self._temporary: Path | None = None

    def __reduce__(self) -> tuple[type["TrainingFolder"], tuple[TrainingRecipe]]:
        return TrainingFolder, (self._recipe,)

    @property
    def index(self) -> Path:
        """The folder of the indices of versions, which all processes of a node use."""
        return (self.store.directory if self.store.is_local else self.copies.path(self.store.uri)) / INDEX

    def stage(self, name: str) -> Path:
        """The folder of a stage on this machine."""
        remote = self.remote(name)
        return remote.folder if remote else self.store.directory / name

    def remote(self, name: str) -> StoredFiles | None:
        """The files of a stage in a bucket, which are pulled when they are first asked for; None if the
        output is a directory."""
        if self.store.is_local:
            return None
        if name not in self._stages:
            files = StoredFiles(Store(self.store.join(name)), self.own / name)
            files.pull_all()
            self._stages[name] = files
        return self._stages[name]

    @property
    def own(self) -> Path:
        """The temporary folder of this process; those of killed ones are removed."""
        if self._temporary is None:
            self.scratch.mkdir(parents=True, exist_ok=True)
            self._temporary, self._lock = locked_folder(self.scratch, f".{self._recipe.name}-")
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary

    def model(self, name: str) -> Path:
        """The model of a finished stage, on this machine."""
        return self.stage(name) / MODEL if self.store.is_local else self.awaited(f"{name}/{MODEL}")

    def awaited(self, prefix: str) -> Path:
        """The copy of a model that the first process has uploaded, or is still uploading: under torchrun the
        others may be here before."""
        while not is_first() and not self.store.exists(f"{prefix}/{CONFIG}"):
            time.sleep(_POLL_SECONDS)
        return self.copies.get(self.store.join(prefix))

    def model_uri(self, name: str) -> str:
        """Where a user finds the model of a stage."""
        return f"{self.stage_uri(name)}/{MODEL}"

    def stage_uri(self, name: str) -> str:
        """Where a user finds a stage."""
        return str(self.stage(name)) if self.store.is_local else self.store.join(name)

    def is_done(self, name: str) -> bool:
        """Whether a stage is finished."""
        if self.store.is_local:
            return self.model(name).exists()
        return all(self.store.exists(f"{name}/{file}") for file in (RUN, f"{MODEL}/{CONFIG}"))

    def push(self, name: str) -> None:
        """Put what has changed in a stage's folder into a bucket."""
        if remote := self.remote(name):
            remote.push()

    def publish(self, name: str) -> None:
        """Put a finished stage into a bucket, and keep its model as the copy of this node."""
        if not self.store.is_local:
            self.push(name)
            self.publish_model(self.stage(name) / MODEL, f"{name}/{MODEL}")

    def publish_model(self, folder: Path, prefix: str) -> Path:
        """Upload a model. Returns its folder among this node's copies, which it becomes."""
        for file in sorted(folder.iterdir(), key=lambda file: file.name == CONFIG):  # config.json last
            self.store.put(f"{prefix}/{file.name}", file)
        return self.copies.keep(self.store.join(prefix), folder)

    def checkpoint(self, uri: str) -> Path:
        """A checkpoint outside this training, a path, URI or model reference, as a folder on this machine.
        Raises SetupError."""
        if is_reference(uri):
            return located(uri)
        store = Store(normalize_uri(uri))
        folder = store.directory if store.is_local else self.copies.get(store.uri)
        if not (folder / CONFIG).is_file():
            raise SetupError(f"{uri} is not a checkpoint: it has no {CONFIG}")
        return folder

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Keep other trainings of a stage out of its directory while the context is open. Those in a bucket
        are jobs of a cluster, where a name keeps a second one out. Raises SetupError."""
        return alone_in(self.stage(name)) if self.store.is_local else nullcontext()

    def check_writable(self) -> None:
        """Raise SetupError if nothing can be written."""
        try:
            self.store.check_writable()
            (self.store.directory if self.store.is_local else self.scratch).mkdir(parents=True, exist_ok=True)
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


def _default_scratch() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aqaa-data" / "training")
