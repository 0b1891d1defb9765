"""The parts that an export of turns is made in: recordings that follow each other in the table of turns."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.versions.reader import each_recording

SECONDS = 4 * 3600
"""Of turns, about 250 MB of FLAC: what a stopped export makes again, and the size of its files of audio."""
RECORDINGS = 2_000
"""Most recordings of a part."""


@dataclass(frozen=True)
class ExportPart:
    number: int
    first: str
    """Id of its first recording."""
    last: str
    """Id of its last recording."""

    def rows(self, where: pc.Expression | None) -> pc.Expression:
        """Which rows of the table are its own, of those that `where` chooses."""
        own = (ds.field("recording") >= self.first) & (ds.field("recording") <= self.last)
        return own if where is None else own & where


def parts_of(turns: ds.Dataset, where: pc.Expression | None) -> Iterator[ExportPart]:
    """All parts in order. The same table has the same parts."""
    number, recordings, seconds, first, last = 0, 0, 0.0, "", ""
    for id, rows in each_recording(turns, ["recording", "start", "end"], where):
        if recordings and (recordings == RECORDINGS or seconds >= SECONDS):
            yield ExportPart(number, first, last)
            number, recordings, seconds = number + 1, 0, 0.0
        first, last = (first if recordings else id), id
        recordings += 1
        seconds += pc.sum(pc.subtract(rows["end"], rows["start"])).as_py()
    if recordings:
        yield ExportPart(number, first, last)
