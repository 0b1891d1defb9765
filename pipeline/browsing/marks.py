"""The file of marks: what a listener thinks of turns, for `select.marks` of the next build."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.storage.saved_rows import SavedRows
from schemas.errors import SetupError
from schemas.text_files import lines
from stages.select import TurnMark, parse_marks


class MarksFile:
    """Marks of turns, each on the disk before the page shows it."""

    def __init__(self, path: Path) -> None:
        """Raises SetupError if the file can't be written, or holds something else."""
        self._file = SavedRows(path, "browse", "mark")
        try:
            known = parse_marks(lines(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            self._file.close()
            raise SetupError(
                f"{path} isn't a file of marks: {error}: name the file of the marks, or a new one"
            ) from None
        self._marks = {mark.place: mark.mark for mark in known}

    @property
    def number(self) -> int:
        """Turns that are marked."""
        return len(self._marks)

    def of(self, turn: Mapping[str, Any]) -> str | None:
        """The mark of a row of turns.parquet."""
        return self._marks.get((turn["recording"], turn["track"], turn["start"], turn["end"]))

    def save(self, turn: Mapping[str, Any], mark: str | None, version: str) -> None:
        """Mark a turn, or with None remove its mark. Raises OSError if that can't be written."""
        place = {name: turn[name] for name in ("recording", "track", "start", "end")}
        told = {"key": turn["key"], "text": turn["text"], "version": version}
        self._file.append(
            {**place, "mark": mark, **told, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        if mark is None:
            self._marks.pop(tuple(place.values()), None)
        else:
            checked = TurnMark.model_validate(place | {"mark": mark})
            self._marks[checked.place] = checked.mark

    def close(self) -> None:
        self._file.close()
