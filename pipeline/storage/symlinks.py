"""Symbolic links in a folder of recordings: a link that leads out of the folder is not followed."""

import os
from pathlib import Path

LEADS_OUT = "leads out of its folder"
"""The tag of a recording that is a link out of the folder; decode sets it aside."""


class Links:
    """The targets of the links under a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = os.path.realpath(root)
        self._folders: dict[str, str] = {}

    def lead_out(self, path: str) -> bool:
        """Whether a file, given by its path under the folder, is in fact outside it."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(self._root / folder)
        file = f"{self._folders[folder]}/{name}"
        if os.path.islink(file):  # noqa: PTH114 (called a million times)
            file = os.path.realpath(file)
        return not file.startswith(self._real.rstrip("/") + "/")
