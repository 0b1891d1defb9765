"""Tags: names that mean a version, moved atomically.

`refs/<tag>/<n>` are written once; the highest n counts. So a tag has a history, and of two who move it
at once one wins and the other is told.
"""

import re

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.reader import ref_numbers, ref_target
from schemas.errors import SetupError

NONE = "none"
"""Expected of a tag that doesn't exist yet."""

_LOOKS_LIKE_AN_ID = re.compile(r"[0-9a-f]{4,16}")


def tag(dataset: Store, name: str, version: str, expected: str | None = None) -> None:
    """Let a tag mean a version from now on.

    With `expected`, only where it means that version now (`none`: where there is no such tag). Raises
    SetupError for a name that can't be a tag, or where another version is found.
    """
    if not layout.is_tag_name(name) or _LOOKS_LIKE_AN_ID.fullmatch(name) or name == NONE:
        raise SetupError(
            f"{name!r} can't be a tag: use letters, digits, . _ - that don't look like a version"
        )
    for _ in range(100):
        last = max(ref_numbers(dataset, name), default=0)
        now = ref_target(dataset, name, last) if last else NONE
        if expected is not None and now != expected:
            raise SetupError(f"the tag {name} means {now}, not {expected}: nothing was changed")
        if now == version or dataset.put_new(layout.ref(name, last + 1), f"{version}\n".encode()):
            return
    raise SetupError(f"the tag {name} of {dataset.uri} is being moved by others all the time: try again")
