"""Notes on what decode found and repaired in a file, bounded in number."""

from schemas.recording import AudioNote

MOST_NOTES = 20
"""Notes of one kind that are kept; what follows is summed up in one more."""


class Notes:
    """Collects the notes on one recording."""

    def __init__(self) -> None:
        self._first: dict[str, list[AudioNote]] = {}
        self._further: dict[str, tuple[int, float]] = {}

    def add(self, kind: str, message: str, start: float | None = None, seconds: float | None = None) -> None:
        """Add a note; `start` and `seconds` say where on the recording's clock and how long."""
        notes = self._first.setdefault(kind, [])
        if len(notes) < MOST_NOTES:
            notes.append(AudioNote(kind, message, start, seconds))
        else:
            count, total = self._further.get(kind, (0, 0.0))
            self._further[kind] = count + 1, total + (seconds or 0.0)

    def listed(self) -> tuple[AudioNote, ...]:
        """The notes, by kind in order of appearance, and for each kind with too many how many there were."""
        listed = []
        for kind, notes in self._first.items():
            listed += notes
            if kind in self._further:
                count, total = self._further[kind]
                listed.append(
                    AudioNote(kind, f"{count:,} more of this kind, {total:.1f} s together", None, total)
                )
        return tuple(listed)
