"""One recording in a listing."""

from dataclasses import dataclass
from sys import intern
from typing import Any

from schemas.recording import Companion, Recording

_SIDECAR = ".json"


@dataclass(frozen=True, init=False)
class ListedRecording:
    """A recording as listed, before it is read.

    Millions are in memory while a build is planned, so what follows from the id is not stored: a URI that
    ends in it, and a sidecar with the name of the recording.
    """

    __slots__ = ("_prefix", "_sidecar", "bytes", "companions", "etag", "id")

    id: str
    """Path relative to its root."""
    uri: str
    bytes: int
    etag: str
    sidecar: Companion | None
    companions: tuple[Companion, ...]

    def __init__(
        self,
        id: str,
        uri: str,
        bytes: int,
        etag: str,
        sidecar: Companion | None,
        companions: tuple[Companion, ...],
    ) -> None:
        follows = sidecar is not None and (sidecar.kind, sidecar.uri) == ("json", uri + _SIDECAR)
        values: dict[str, Any] = {
            "id": id,
            # A root ends in a slash, a whole URI does not.
            "_prefix": intern(uri.removesuffix(id)) if uri.endswith(f"/{id}") else uri,
            "bytes": bytes,
            "etag": etag,
            "_sidecar": sidecar.etag if sidecar is not None and follows else sidecar,
            "companions": companions,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property  # type: ignore[no-redef]
    def uri(self) -> str:
        prefix: str = self._prefix  # type: ignore[attr-defined]
        return prefix + self.id if prefix.endswith("/") else prefix

    @property  # type: ignore[no-redef]
    def sidecar(self) -> Companion | None:
        sidecar: Companion | str | None = self._sidecar  # type: ignore[attr-defined]
        return Companion("json", self.uri + _SIDECAR, sidecar) if isinstance(sidecar, str) else sidecar

    def __reduce__(self) -> tuple[Any, ...]:
        return ListedRecording, (self.id, self.uri, self.bytes, self.etag, self.sidecar, self.companions)

    def recording(self, sidecar: str) -> Recording:
        """The record that annotate starts with; `sidecar` is the text of the sidecar."""
        return Recording(self.id, self.uri, self.bytes, self.etag, sidecar, self.companions)
