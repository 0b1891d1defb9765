"""Members of the tars beside a manifest whose rows name these: NeMo's tarred data, and lhotse's Shar."""

from pipeline.inputs.formats.archives import read_archive
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.storage.store import Store
from schemas.errors import DataError


class TarMembers:
    """The recordings in the tars of a folder, listed as rows need them."""

    def __init__(self, folder: Store) -> None:
        self._folder = folder
        self._tars: dict[str, dict[str, ListedRecording]] = {}

    def find(self, tar: str, member: str) -> ListedRecording:
        """A member by its name, or its name without extension. Raises DataError if it isn't there, or is set
        aside itself."""
        if tar not in self._tars:
            self._tars[tar] = self._list(tar)
        found = self._tars[tar].get(member)
        if found is None:
            raise DataError("vanished", f"{tar} has no member called {member}")
        return found

    def _list(self, tar: str) -> dict[str, ListedRecording]:
        try:
            file = self._folder.head(tar)
        except FileNotFoundError:
            raise DataError("vanished", f"there is no {tar} beside the manifest") from None
        recordings, _, _ = read_archive(self._folder, file, tar)
        members: dict[str, ListedRecording] = {}
        for recording in recordings:
            name = recording.id.removeprefix(f"{tar}/")
            members[name] = recording
            members.setdefault(name.rpartition(".")[0], recording)
        return members
