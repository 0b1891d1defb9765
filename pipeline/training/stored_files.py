"""The files of a stage in a bucket, and the temporary folder in which a process has them."""

import threading
from pathlib import Path

from pipeline.storage.copies import fetch
from pipeline.storage.store import Store

_APART = ("model", "checkpoints", "tensorboard", "ray")
"""Of the folders of a stage: those that no process gets with the others."""
_NOT_PUSHED = ("model", "checkpoints", "ray")


class StoredFiles:
    """As `stages.train.remote.Remote` describes it."""

    def __init__(self, objects: Store, folder: Path) -> None:
        self.objects = objects
        self.folder = folder
        self._pulled: dict[str, str] = {}
        self._pushed: dict[Path, tuple[int, int]] = {}
        self._pushing = threading.Lock()

    @property
    def uri(self) -> str:
        return self.objects.uri

    def pull_all(self) -> None:
        """Get what is in the bucket but for checkpoints, the model, and the files of TensorBoard, to which a
        run adds new ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for item in self.objects.list():
            if item.path.split("/")[0] not in _APART:
                self.pull(item.path)

    def pull(self, name: str) -> None:
        """Get a file."""
        file = self.folder / name
        partial = file.with_name(f".{file.name}.pulled")
        fetch(self.objects, name, partial)
        partial.rename(file)
        self._pushed[file] = _state(file)

    def pull_changed(self, *names: str) -> None:
        """Get those of some files that are there, and others than were pulled before."""
        for item in self.objects.files():
            if item.path in names and self._pulled.get(item.path) != item.etag:
                self.pull(item.path)
                self._pulled[item.path] = item.etag

    def push(self) -> None:
        """Put the files that have changed since the last time; another thread may do so as well."""
        with self._pushing:
            for file in sorted(self.folder.rglob("*")):
                name = file.relative_to(self.folder)
                is_hidden = any(part.startswith(".") for part in name.parts)
                if is_hidden or name.parts[0] in _NOT_PUSHED or not file.is_file():
                    continue
                state = _state(file)
                if self._pushed.get(file) != state:
                    self.objects.put(str(name), file)
                    self._pushed[file] = state


def _state(file: Path) -> tuple[int, int]:
    """Differs once a file is written to or replaced."""
    found = file.stat()
    return found.st_mtime_ns, found.st_size
