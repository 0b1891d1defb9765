"""Tags: names that refer to a version and can be moved atomically.

`refs/<tag>/<n>` are written once; the highest n counts. So a tag has a history, and of two concurrent moves
one wins and the other fails.
"""

import re

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.reader import ref_numbers, ref_target
from schemas.errors import SetupError

NONE = "none"
"""The expected version of a tag that doesn't exist yet."""


class TagMovedError(SetupError):
    """A tag refers to another version than was expected."""


_LOOKS_LIKE_AN_ID = re.compile(r"[0-9a-f]{4,16}")


def tag(dataset: Store, name: str, version: str, expected: str | None = None) -> None:
    """Move a tag to a version.

    With `expected`, only if the tag refers to that version now (`none`: if there is no such tag). Raises
    TagMovedError if it refers to another, and SetupError if the name can't be a tag.
    """
    if not layout.is_tag_name(name) or _LOOKS_LIKE_AN_ID.fullmatch(name) or name == NONE:
        raise SetupError(
            f"{name!r} can't be a tag: use letters, digits, . _ - that don't look like a version"
        )
    for _ in range(100):
        last = max(ref_numbers(dataset, name), default=0)
        current = ref_target(dataset, name, last) if last else NONE
        if expected is not None and current != expected:
            raise TagMovedError(f"the tag {name} refers to {current}, not {expected}: nothing was changed")
        if current == version or dataset.put_new(layout.ref(name, last + 1), f"{version}\n".encode()):
            return
    raise SetupError(f"the tag {name} of {dataset.uri} is constantly moved by others: run the command again")
