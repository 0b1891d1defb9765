"""NeMo's manifests: JSON Lines with `audio_filepath`, and perhaps offset, duration, text and speaker.

In a tarred manifest, rows with `shard_id` name members of `audio_<shard_id>.tar` beside it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline.inputs.formats.given import GivenRecordings, RowTurn
from pipeline.inputs.formats.members import TarMembers
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.row_files import FileRow
from pipeline.storage.store import Store
from schemas.errors import DataError

_COMPANIONS = {"rttm_filepath": "rttm", "ctm_filepath": "ctm"}
"""Fields that name files beside the recording -> their kind."""
_NOTHING = ("", "-")
"""Texts of rows without a transcript."""


def read_nemo(folder: Store, name: str, rows: Iterator[FileRow]) -> list[ListedRecording]:
    """The recordings of a manifest: rows on one file are its turns. Bad rows are set aside by line."""
    given, tars = GivenRecordings(folder, name), TarMembers(folder)
    for row in rows:
        if isinstance(row.value, DataError):
            given.refuse(row.where, row.value.code, row.value.message)
        elif not isinstance(row.value, dict):
            given.refuse(row.where, "bad_row", "the line is not a JSON object")
        else:
            fields = {field: value for field, value in row.value.items() if value is not None}
            path, turn = fields.pop("audio_filepath", None), _turn(fields)
            companions = tuple((kind, fields.pop(f)) for f, kind in _COMPANIONS.items() if f in fields)
            if (shard := fields.pop("shard_id", None)) is None:
                given.add(row.where, path, turn, fields, companions)
                continue
            try:
                member = tars.find(f"audio_{shard}.tar", str(path))
            except DataError as error:
                given.refuse(row.where, error.code, error.message)
            else:
                # The offset is that in the recording which the member was cut from.
                given.add_member(member, replace(turn, start=0, end=None), fields)
    return given.listed()


def _turn(fields: dict[str, Any]) -> RowTurn:
    """The turn of a row, whose fields are taken out of it."""
    start = fields.pop("offset", 0)
    end = seconds_after(start, fields.pop("duration", None))
    text, channel = fields.pop("text", None), fields.pop("channel", None)
    return RowTurn(
        start,
        end,
        fields.pop("speaker", None),
        None if text in _NOTHING else text,
        channel + 1 if isinstance(channel, int) else None,
    )


def seconds_after(start: Any, duration: Any) -> Any:
    """The end of a turn; what is not a number is kept, to be named when the turn is used."""
    if isinstance(start, int | float) and isinstance(duration, int | float):
        return round(start + duration, 6)
    return duration
