"""Entries of a listing that can't be opened: their tag says why, and decode sets them aside."""

from pipeline.storage.symlinks import LEADS_OUT
from stages.decode import reading

DANGLING = "a link to nothing"
LINK_LOOP = "a link loop"
NOT_A_FILE = "neither file nor folder"
NO_PERMISSION = "no permission"
CANNOT_OPEN = "can't be opened"
BAD_KEY = "a key that is no path"

REFUSALS: dict[str, tuple[str, str]] = {
    LEADS_OUT: ("leads_out", "it is a link to a path outside the input's folder"),
    DANGLING: ("dangling_link", "it is a link to a file that doesn't exist"),
    LINK_LOOP: ("link_loop", "it is a link that leads back to itself or to a folder that it is in"),
    NOT_A_FILE: ("not_a_file", reading.NOT_A_FILE),
    NO_PERMISSION: ("unreadable", "there is no permission to read it"),
    CANNOT_OPEN: ("unreadable", "the system can't open it: its path may be too long"),
    BAD_KEY: (
        "bad_key",
        "its key can't be requested, because it has a control character, or nothing or only dots between "
        "slashes: rename the object",
    ),
}
"""Tag -> code and message."""

_REFUSED = "refused "


def refused(code: str, message: str) -> str:
    """The tag of a row or a member that can't be used."""
    return f"{_REFUSED}{code}: {message}"


def refusal_of(etag: str) -> tuple[str, str] | None:
    """Code and message if a tag says why an entry can't be opened."""
    if etag.startswith(_REFUSED):
        code, _, message = etag.removeprefix(_REFUSED).partition(": ")
        return code, message
    return REFUSALS.get(etag)
