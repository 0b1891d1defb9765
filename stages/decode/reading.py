"""Reads the samples of audio files of any format, block by block. Formats are detected from the content."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import numpy as np

from schemas.errors import DataError
from stages.decode.notes import Notes
from stages.decode.part_reader import PartReader, open_part
from stages.decode.parts import Part, parts_of
from stages.decode.streams import spoken_stream
from stages.decode.survey import Survey
from stages.decode.timeline import Silence, Timeline, silence
from stages.stage import Samples

MIN_BYTES_PER_SECOND = 10
"""Bit rate below that of any speech codec. A file that decodes to more audio is not a recording."""

NOT_A_FILE = "it is a pipe, a socket or a device, not a file"

MAX_CODED_PEAK, MAX_FLOAT_PEAK = 4.0, 100.0
"""Peaks (full scale is 1.0) that an intact lossy stream and an intact file of float samples don't exceed."""


@contextmanager
def open_audio(path: Path, stream: int | None = None) -> Iterator["AudioReader"]:
    """Open an audio file for the duration of the context, and its audio stream with an index.

    Without an index, the stream in which somebody speaks is found. Raises DataError if there is no audio, and
    FileNotFoundError.
    """
    if not S_ISREG(mode := path.stat().st_mode) and not S_ISDIR(mode):  # a pipe would be waited for
        raise DataError("not_a_file", NOT_A_FILE)
    parts = parts_of(path)
    with open_part(path, parts[0], stream) as first:
        if stream is None and first.streams > 1:
            first.use(spoken_stream(path, parts[0]))
        yield AudioReader(path, parts, first)


class AudioReader:
    """An open audio file. Its header is read at once. One of its iterators can be consumed, once, and what is
    known of notes, damage and the end is complete after that."""

    def __init__(self, path: Path, parts: list[Part], first: PartReader) -> None:
        self.path = path
        self.bytes = path.stat().st_size
        self.container = first.container
        self.codec = first.codec
        self.names = first.names
        """Names of the channels: `FL`, `FC`, .., or `NONE`."""
        self.stream = first.stream
        """Index of the audio stream among those of the file."""
        self.streams = first.streams
        """Number of audio streams in the file."""
        self.clock_start = first.zero or 0.0
        """Reading of the container's clock, in seconds, at the start of the recording."""
        self.notes = Notes()
        self.skipped = 0
        """Number of packets that couldn't be decoded."""
        self.damaged = 0
        """Number of samples of all channels that were silenced: invalid ones and their neighbours."""
        self.cut_off = False
        """Whether the file ends within a packet or a box, or lacks the mark of its end."""
        self._declared: float | None = 0.0
        self._parts = parts
        self._first = first
        self._timeline = Timeline(self.notes)

    @property
    def rate(self) -> int:
        """Sample rate in Hz; 0 before the first block."""
        return self._timeline.rate

    @property
    def seconds(self) -> float:
        """Duration of the blocks so far, on the container's clock."""
        return self._timeline.seconds

    @property
    def sound_seconds(self) -> float:
        """Duration of the decoded audio so far, without silence in place of missing audio."""
        return self._timeline.sound / self.rate if self.rate else 0.0

    @property
    def start_offset(self) -> float:
        """Seconds of silence before the first sound."""
        return self._timeline.offset

    @property
    def gap_seconds(self) -> float:
        """Seconds of silence in place of missing audio after the first sound."""
        return self._timeline.silence / self.rate - self.start_offset if self.rate else 0.0

    @property
    def declared(self) -> float | None:
        """Duration in seconds according to the headers of the parts so far; None if they declare none, or an
        implausible one."""
        return self._declared if self._declared and self._declared <= self._max_seconds else None

    @property
    def _max_seconds(self) -> float:
        """The longest plausible duration of the audio of a file of this size."""
        return 60 + self.bytes / MIN_BYTES_PER_SECOND

    def blocks(self) -> Iterator[Samples]:
        """Blocks of about one second: samples [n, channels], float32 with full scale at 1.0.

        They follow the container's clock: what is missing is silence. Raises DataError if the format is
        implausible.
        """
        for block in self.timeline():
            if isinstance(block, Silence):
                yield from silence(block.samples, self._timeline.channels)
            else:
                yield block

    def sound(self) -> Iterator[Samples]:
        """The blocks without the silence in place of missing audio."""
        return (block for block in self.timeline() if not isinstance(block, Silence))

    def survey(self) -> Survey:
        """Statistics of the sound. Raises DataError if there is none."""
        survey = None
        for block in self.sound():
            survey = survey or Survey(self.rate, block.shape[1])
            survey.add(block)
        if survey is None:
            raise DataError(
                "no_samples",
                "none of the audio can be decoded: the file is damaged"
                if self.skipped
                else "the file contains no samples",
            )
        return survey

    def timeline(self) -> Iterator[Samples | Silence]:
        """The blocks, with gaps in place of their silence."""
        waiting: list[Samples] = []
        length = 0
        for piece in self._pieces():
            if not isinstance(piece, Silence):
                waiting.append(piece)
                length += len(piece)
            if waiting and (length >= self.rate or isinstance(piece, Silence)):
                yield self._repaired(np.concatenate(waiting))
                waiting, length = [], 0
                if self.sound_seconds > self._max_seconds:
                    raise DataError(
                        "implausible",
                        f"{self.bytes:,} bytes decode to more than {self.sound_seconds:,.0f} s, beyond what "
                        "any audio codec achieves: the file is damaged or crafted to fill the disk",
                    )
            if isinstance(piece, Silence):
                yield piece
        if waiting:
            yield self._repaired(np.concatenate(waiting))

    def _pieces(self) -> Iterator[Samples | Silence]:
        for part in self._parts:
            if part.note:
                self.notes.add("header", part.note)
        yield from self._placed(self._first, self._first.zero)
        for number, part in enumerate(self._parts[1:], 2):
            self.notes.add("joined", f"file {number} of {len(self._parts)} joined end to end", self.seconds)
            try:
                with open_part(self.path, part, self.stream) as reader:
                    yield from self._placed(reader, None)
            except DataError as error:
                self.notes.add("damage", f"file {number} can't be read: {error}", self.seconds)

    def _placed(self, part: PartReader, zero: float | None) -> Iterator[Samples | Silence]:
        yield from self._timeline.place(part.pieces(), zero)
        self.skipped += part.skipped
        self.cut_off = part.cut_off
        known = self._declared is not None and part.declared is not None
        self._declared = (self._declared or 0.0) + (part.declared or 0.0) if known else None

    def _repaired(self, block: Samples) -> Samples:
        """The block with silence in place of NaN, infinities and peaks that only damaged packets produce."""
        coded = not self.codec.startswith("pcm_f")
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(block) <= (MAX_CODED_PEAK if coded else MAX_FLOAT_PEAK))
        if not bad.any():
            return block
        if coded:  # a damaged packet affects its surroundings too, not only the samples over the limit
            reach = self.rate // 20
            for index in np.flatnonzero(bad.any(axis=1)):
                bad[max(0, index - reach) : index + reach] = True
        self.damaged += int(bad.sum())
        return np.where(bad, np.float32(0), block)
