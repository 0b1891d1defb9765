"""The recordings of enrolled voices: a file, or a folder of files, for each person."""

from pipeline.inputs.beside import extension
from pipeline.storage.store import Store
from schemas.errors import SetupError


def voice_files(uri: str) -> dict[str, list[str]]:
    """Person -> paths of the recordings of their voice, relative to the directory.

    Raises SetupError if there are none.
    """
    people: dict[str, list[str]] = {}
    for stored in Store(uri).list():
        first, _, below = stored.path.partition("/")
        if not stored.path.rpartition("/")[2].startswith("."):
            person = first if below else first.removesuffix(f".{extension(first)}")
            people.setdefault(person, []).append(stored.path)
    if not people:
        raise SetupError(f"identify.voices: there is no recording under {uri}")
    return {person: sorted(paths) for person, paths in sorted(people.items())}
