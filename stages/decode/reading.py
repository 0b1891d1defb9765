"""Samples out of any container, recognised by its content, block by block."""

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
"""The containers that may be opened: none of them names other files or addresses, as playlists do."""

TIMED = ("flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
"""Containers whose time stamps are exact, so that a gap in them is a gap in the recording."""

BYTES_PER_SECOND = 10
"""No codec for speech goes below this, so what decodes to more never was a recording."""

CODED_PEAK, FLOAT_PEAK = 4.0, 100.0
"""Times full scale that no healthy decoder and no float file of an honest recorder exceeds."""


@contextmanager
def opened(path: Path) -> Iterator["Source"]:
    """A recording, open while the context is. Raises DataError where there is no audio in it."""
    handle = os.open(path, os.O_RDONLY)  # handed over without its name, which may lie
    try:
        with _container(path, handle) as container:
            yield Source(path, container)
    finally:
        os.close(handle)


def _container(path: Path, handle: int) -> Any:
    options = {"fd": str(handle), "format_whitelist": CONTAINERS}
    try:
        return av.open("fd:", metadata_errors="replace", options=options)
    except av.error.FFmpegError as error:
        raise DataError("unreadable", what_else(path)) from error


class Source:
    """An open recording: its header at once, its samples once through, then what was wrong with them."""

    def __init__(self, path: Path, container: Any) -> None:
        if not container.streams.audio:
            others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing at all"
            raise DataError("no_audio", f"the file has no audio stream, only {others}")
        self._container = container
        self._stream = container.streams.best("audio") or container.streams.audio[0]
        codec = self._stream.codec_context
        if codec is None:
            raise DataError("unreadable", "the audio is in a codec that can't be decoded")
        codec.thread_count = 1
        if codec.name == "flac":  # or damaged frames come out as noise
            codec.options = {"err_detect": "crccheck+explode"}
        self.path = path
        self.bytes = path.stat().st_size
        self.container: str = container.format.name
        self.codec: str = codec.name
        self.names: tuple[str, ...] = tuple(channel.name for channel in codec.layout.channels)
        """Of the channels: `FL`, `FC`, .., or `NONE`."""
        declared = declared_seconds(path, container, self._stream)
        self.declared = declared if declared and declared <= self._most_seconds else None
        """Seconds that the header claims."""
        self.rate = 0
        """Hz, known with the first block."""
        self.decoded = 0
        """Samples a channel that came out of the decoder."""
        self.filled = 0
        """Samples a channel of silence put where packets were lost."""
        self.damaged = 0
        """Samples of all channels that were no sane number, or stood beside one."""
        self.skipped = 0
        """Packets that did not decode."""

    @property
    def seconds(self) -> float:
        """Length of the blocks so far."""
        return (self.decoded + self.filled) / self.rate if self.rate else 0.0

    @property
    def _most_seconds(self) -> float:
        return 60 + self.bytes / BYTES_PER_SECOND

    def blocks(self) -> Iterator[Samples]:
        """Samples [n, channels], float32 with full scale at 1.0, about a second at a time."""
        waiting: list[Samples] = []
        length = 0
        for piece in self._pieces():
            waiting.append(piece)
            length += len(piece)
            if length >= self.rate:
                yield self._mended(np.concatenate(waiting))
                waiting, length = [], 0
                if self.seconds > self._most_seconds:
                    raise DataError(
                        "implausible",
                        f"{self.bytes:,} bytes decode to more than {self.seconds:,.0f} s, "
                        "which no audio codec does: the file is damaged or made to fill a disk",
                    )
        if waiting:
            yield self._mended(np.concatenate(waiting))

    def _pieces(self) -> Iterator[Samples]:
        """What the decoder gives frame by frame, with silence where the time stamps leave a gap."""
        channels = 0
        start = 0.0
        for frame in self._frames():
            samples = as_float(frame)
            if not self.rate:
                self.rate, channels = frame.sample_rate, samples.shape[1]
                start = frame.time or 0.0
                if not 1000 <= self.rate <= 768_000 or not channels:
                    raise DataError("unreadable", f"a sample rate of {self.rate} Hz is not one of audio")
            if frame.sample_rate != self.rate or samples.shape[1] != channels:
                self.skipped += 1
                continue
            if frame.time is not None and self.container in TIMED:
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

    def _mended(self, block: Samples) -> Samples:
        """Silence instead of NaN, infinities and peaks that only a damaged packet gives."""
        coded = not self.codec.startswith("pcm_f")
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(block) <= (CODED_PEAK if coded else FLOAT_PEAK))
        if not wrong.any():
            return block
        if coded:  # a damaged packet spoils its neighbourhood, not only the samples over the limit
            reach = self.rate // 20
            for at in np.flatnonzero(wrong.any(axis=1)):
                wrong[max(0, at - reach) : at + reach] = True
        self.damaged += int(wrong.sum())
        return np.where(wrong, np.float32(0), block)


def as_float(frame: av.AudioFrame) -> Samples:
    """A decoded frame as [n, channels] float32 with full scale at 1.0."""
    samples: NDArray[Any] = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.itemsize))
    return samples.astype(np.float32)
