"""Reads the samples of audio files of any format, block by block. Formats are detected from the content."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from stages.decode.headers import declared_seconds, what_else
from stages.stage import Samples

CONTAINERS = (
    "wav,w64,aiff,au,caf,flac,ogg,mp3,aac,ac3,eac3,amr,asf,matroska,mov,avi,flv,mpeg,mpegts,mxf,"
    "nistsphere,voc,wv,ape,tta,tak,mpc,mpc8,dsf,rm,iff,loas,sox"
)
"""Containers that may be opened. None of them refers to other files or URLs, as playlists do."""

EXACT_TIMESTAMPS = ("flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
"""Containers with exact time stamps, so that a gap between them is a gap in the recording."""

MIN_BYTES_PER_SECOND = 10
"""Bit rate below that of any speech codec. A file that decodes to more audio is not a recording."""

MAX_CODED_PEAK, MAX_FLOAT_PEAK = 4.0, 100.0
"""Peaks (full scale is 1.0) that an intact lossy stream and an intact file of float samples don't exceed."""


@contextmanager
def open_audio(path: Path) -> Iterator["AudioReader"]:
    """Open an audio file for the duration of the context. Raises DataError if it has no audio."""
    # FFmpeg gets a descriptor instead of the path, whose suffix may be misleading.
    handle = os.open(path, os.O_RDONLY)
    try:
        with _container(path, handle) as container:
            yield AudioReader(path, container)
    finally:
        os.close(handle)


def _container(path: Path, handle: int) -> Any:
    options = {"fd": str(handle), "format_whitelist": CONTAINERS}
    try:
        return av.open("fd:", metadata_errors="replace", options=options)
    except av.error.FFmpegError as error:
        raise DataError("unreadable", what_else(path)) from error


class AudioReader:
    """An open audio file. Its header is read at once, `blocks` can be consumed once, and the counts of damage
    are complete after that."""

    def __init__(self, path: Path, container: Any) -> None:
        if not container.streams.audio:
            others = ", ".join(sorted({stream.type for stream in container.streams}))
            only = f", only {others}" if others else ""
            raise DataError("no_audio", f"the file has no audio stream{only}")
        self._container = container
        self._stream = container.streams.best("audio") or container.streams.audio[0]
        codec = self._stream.codec_context
        if codec is None:
            raise DataError("unreadable", "the audio codec is not supported")
        codec.thread_count = 1
        if codec.name == "flac":  # otherwise damaged frames decode to noise
            codec.options = {"err_detect": "crccheck+explode"}
        self.path = path
        self.bytes = path.stat().st_size
        self.container: str = container.format.name
        self.codec: str = codec.name
        self.names: tuple[str, ...] = tuple(channel.name for channel in codec.layout.channels)
        """Names of the channels: `FL`, `FC`, .., or `NONE`."""
        declared = declared_seconds(path, container, self._stream)
        self.declared = declared if declared and declared <= self._max_seconds else None
        """Duration in seconds according to the header; None if it declares none, or an implausible one."""
        self.rate = 0
        """Sample rate in Hz; 0 before the first block."""
        self.decoded = 0
        """Number of decoded samples per channel."""
        self.filled = 0
        """Number of samples of silence per channel that replace lost packets."""
        self.damaged = 0
        """Number of samples of all channels that were silenced: invalid ones and their neighbours."""
        self.skipped = 0
        """Number of packets that couldn't be decoded."""

    @property
    def seconds(self) -> float:
        """Duration of the blocks so far."""
        return (self.decoded + self.filled) / self.rate if self.rate else 0.0

    @property
    def _max_seconds(self) -> float:
        """The longest plausible duration of a file of this size."""
        return 60 + self.bytes / MIN_BYTES_PER_SECOND

    def blocks(self) -> Iterator[Samples]:
        """Blocks of about one second: samples [n, channels], float32 with full scale at 1.0.

        Raises DataError if the format is implausible.
        """
        waiting: list[Samples] = []
        length = 0
        for piece in self._pieces():
            waiting.append(piece)
            length += len(piece)
            if length >= self.rate:
                yield self._repaired(np.concatenate(waiting))
                waiting, length = [], 0
                if self.seconds > self._max_seconds:
                    raise DataError(
                        "implausible",
                        f"{self.bytes:,} bytes decode to more than {self.seconds:,.0f} s, beyond what any "
                        "audio codec achieves: the file is damaged or crafted to fill the disk",
                    )
        if waiting:
            yield self._repaired(np.concatenate(waiting))

    def _pieces(self) -> Iterator[Samples]:
        """Decoded frames [n, channels], with silence where the time stamps leave a gap."""
        channels = 0
        start = 0.0
        for frame in self._frames():
            samples = as_float(frame)
            if not self.rate:
                self.rate, channels = frame.sample_rate, samples.shape[1]
                start = frame.time or 0.0
                if not 1000 <= self.rate <= 768_000 or not channels:
                    raise DataError("unreadable", f"its sample rate of {self.rate} Hz is implausible")
            if frame.sample_rate != self.rate or samples.shape[1] != channels:
                self.skipped += 1
                continue
            if frame.time is not None and self.container in EXACT_TIMESTAMPS:
                gap = frame.time - start - self.seconds
                if 0.1 < gap < 60:
                    silence = np.zeros((round(gap * self.rate), channels), np.float32)
                    self.filled += len(silence)
                    yield silence
            self.decoded += len(samples)
            yield samples

    def _frames(self) -> Iterator[av.AudioFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.skipped += 1
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.skipped += 1
                continue
            yield from frames

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


def as_float(frame: av.AudioFrame) -> Samples:
    """Samples [n, channels] of a decoded frame, float32 with full scale at 1.0."""
    samples: NDArray[Any] = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.itemsize))
    return samples.astype(np.float32)
