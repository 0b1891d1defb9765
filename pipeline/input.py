"""One recording as listed."""

from dataclasses import dataclass

from schemas.recording import Companion, Recording


@dataclass(frozen=True, slots=True)
class Input:
    """A recording as listed, before anything was read."""

    id: str
    """Path relative to its root."""
    uri: str
    bytes: int
    etag: str
    sidecar: Companion | None
    companions: tuple[Companion, ...]

    def recording(self, sidecar: str) -> Recording:
        """The record that annotate starts from, with the text of the sidecar."""
        return Recording(self.id, self.uri, self.bytes, self.etag, sidecar, self.companions)
