"""The file of marks: what a listener thinks of turns, and corrects, for `select.marks` of the next build."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.storage.saved_rows import SavedRows
from schemas.errors import SetupError
from schemas.text_files import lines
from stages.select import TurnCorrection, TurnMark, parse_marks


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
        self._marks = {mark.place: mark for mark in known}

    @property
    def number(self) -> int:
        """Turns that are marked or corrected."""
        return len(self._marks)

    def of(self, turn: Mapping[str, Any]) -> TurnMark | None:
        """What is known of a row of turns.parquet."""
        return self._marks.get((turn["recording"], turn["track"], turn["start"], turn["end"]))

    def save(
        self, turn: Mapping[str, Any], mark: str | None, corrected: TurnCorrection | None, version: str
    ) -> None:
        """Mark and correct a turn, in place of what was known of it; two None remove that.

        Raises OSError if it can't be written.
        """
        place = {name: turn[name] for name in ("recording", "track", "start", "end")}
        known = TurnMark.model_validate(place | {"mark": mark, "corrected": corrected})
        told = {"key": turn["key"], "text": turn["text"], "version": version}
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.append({**place, "mark": mark, **known.model_dump(), **told, "at": at})
        if mark is None and corrected is None:
            self._marks.pop(known.place, None)
        else:
            self._marks[known.place] = known

    def close(self) -> None:
        self._file.close()
