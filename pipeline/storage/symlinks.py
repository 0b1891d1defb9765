"""Links in a folder of recordings: one that leads out of the folder brings in nothing."""

import os
from pathlib import Path

LEADS_OUT = "leads out of its folder"
"""Stands for the tag of a recording that is a link to a place outside, which is set aside in its turn."""


class Links:
    """Where the links under a folder lead."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = os.path.realpath(root)
        self._folders: dict[str, str] = {}

    def lead_out(self, path: str) -> bool:
        """Whether a file, by its path under the folder, lies elsewhere in truth."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(self._root / folder)
        place = f"{self._folders[folder]}/{name}"
        if os.path.islink(place):  # noqa: PTH114 (a million times)
            place = os.path.realpath(place)
        return not place.startswith(self._real.rstrip("/") + "/")
