"""One recording as listed."""

from dataclasses import dataclass
from sys import intern
from typing import Any

from schemas.recording import Companion, Recording

_SIDECAR = ".json"


@dataclass(frozen=True, init=False)
class ListedRecording:
    """A recording as listed, before anything was read.

    Millions are held while a build is planned, so what follows from the id is not kept: a URI that ends in
    it, and a sidecar of the recording's own name.
    """

    __slots__ = ("_place", "_sidecar", "bytes", "companions", "etag", "id")

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
            # Of the root alone it ends in a slash.
            "_place": intern(uri.removesuffix(id)) if uri.endswith(f"/{id}") else uri,
            "bytes": bytes,
            "etag": etag,
            "_sidecar": sidecar.etag if sidecar is not None and follows else sidecar,
            "companions": companions,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property  # type: ignore[no-redef]
    def uri(self) -> str:
        place: str = self._place  # type: ignore[attr-defined]
        return place + self.id if place.endswith("/") else place

    @property  # type: ignore[no-redef]
    def sidecar(self) -> Companion | None:
        kept: Companion | str | None = self._sidecar  # type: ignore[attr-defined]
        return Companion("json", self.uri + _SIDECAR, kept) if isinstance(kept, str) else kept

    def __reduce__(self) -> tuple[Any, ...]:
        return ListedRecording, (self.id, self.uri, self.bytes, self.etag, self.sidecar, self.companions)

    def recording(self, sidecar: str) -> Recording:
        """The record that annotate starts from, with the text of the sidecar."""
        return Recording(self.id, self.uri, self.bytes, self.etag, sidecar, self.companions)
