"""Decodes one part of a file: its samples as they come, each piece with its time on the container's clock."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from stages.decode.avi import frame_numbers
from stages.decode.endings import ends_within_element, ends_within_packet, lacks_end_mark
from stages.decode.headers import declared_seconds
from stages.decode.parts import Part, PartFile
from stages.decode.timeline import Piece
from stages.decode.unreadable import what_else
from stages.stage import Samples

CONTAINERS = (
    "wav,w64,aiff,au,caf,flac,ogg,mp3,aac,ac3,eac3,amr,asf,matroska,mov,avi,flv,mpeg,mpegts,mxf,"
    "nistsphere,voc,wv,ape,tta,tak,mpc,mpc8,dsf,rm,iff,loas,sox"
)
"""Containers that may be opened. None of them refers to other files or URLs, as playlists do."""

CLOCKED = ("flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv", "avi", "asf", "ogg", "mpegts", "mpeg")
"""Containers with time stamps. In others, FFmpeg computes them from the number of samples."""

MULTIPLEXER_DELAY, LONGEST_START = 2.0, 3600.0
"""Seconds. The clocks of MPEG streams begin anywhere. A first reading up to the delay of a multiplexer, and
one so late that it tells when a broadcast began, count as zero."""


class PartReader:
    """An open part. `pieces` can be consumed once; what is known of damage and the end is complete then."""

    def __init__(self, file: PartFile, part: Part, container: Any, stream: int | None) -> None:
        self._file = file
        self._container = container
        audio = container.streams.audio
        if not audio:
            others = ", ".join(sorted({stream.type for stream in container.streams}))
            only = f", only {others}" if others else ""
            raise DataError("no_audio", f"the file has no audio stream{only}")
        self.streams = len(audio)
        """Number of audio streams."""
        self.container: str = container.format.name
        self.skipped = 0
        """Number of packets that couldn't be decoded."""
        self.cut_off = False
        """Whether it ends within a packet or a box, or lacks the mark of its end."""
        self._part = part
        self._priming: float | None = None
        self.use(best_stream(container) if stream is None else min(stream, len(audio) - 1))

    def use(self, stream: int) -> None:
        """Read the audio stream with an index. Raises DataError if its codec isn't supported."""
        self.stream = stream
        """Index of the audio stream that is read."""
        self._stream = self._container.streams.audio[stream]
        if self._stream.codec_context is None:
            raise DataError("unreadable", "the audio codec is not supported")
        self._decoder = decoder_of(self._stream, self._part.codec)
        self.codec: str = self._decoder.name
        self.names: tuple[str, ...] = tuple(channel.name for channel in self._decoder.layout.channels)
        """Names of the channels: `FL`, `FC`, .., or `NONE`."""
        declared = declared_seconds(self._file, self._container, self._stream)
        self.declared = declared * self._part.declared_share if declared else None
        """Duration in seconds according to the header; None if it declares none."""

    @property
    def zero(self) -> float | None:
        """Reading of the clock, in seconds, at the start of the recording; None: where the sound starts."""
        if self.container == "flac" or self.container not in CLOCKED:
            return None
        first = (self._container.start_time or 0) / av.time_base
        if self.container in ("mpegts", "mpeg") and not MULTIPLEXER_DELAY < first < LONGEST_START:
            return first
        return 0.0

    def pieces(self) -> Iterator[Piece]:
        """The decoded audio, packet by packet."""
        clock = self._clock()
        for frame in self._frames():
            time = frame.time
            yield Piece(
                as_float(frame), frame.sample_rate, clock(time) if clock and time is not None else None
            )

    def _clock(self) -> Callable[[float], float] | None:
        """What FFmpeg's time of a frame is on the container's clock; None if the container has no clock."""
        if self.container == "avi":
            tick = float(self._stream.time_base)
            numbers = frame_numbers(self._file, self._stream.index, self._stream.frames)
            if numbers is not None:
                return lambda time: tick * float(numbers[min(round(time / tick), len(numbers) - 1)])
        if self.container == "asf":
            return self._without_priming
        return float if self.container in CLOCKED else None

    def _without_priming(self, time: float) -> float:
        """The time of a frame where the clock doesn't count what the decoder leaves out at the start."""
        if self._priming is None:
            self._priming = time - float((self._stream.start_time or 0) * self._stream.time_base)
        return time - self._priming

    def _frames(self) -> Iterator[av.AudioFrame]:
        packets = self._container.demux(self._stream)
        count, last, failed = 0, None, False
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError:
                self.skipped += 1
                failed = True
                break
            if packet.size:
                count, last, failed = count + 1, packet, False
            try:
                frames = self._decoder.decode(packet if packet.size else None)
            except av.error.FFmpegError:
                self.skipped += 1
                failed = True
                continue
            yield from frames
        self.cut_off = failed or self._incomplete(count, last)

    def _incomplete(self, packets: int, last: Any) -> bool:
        """Whether something is missing at the end, although all that is there could be decoded."""
        if self.container == "ogg":
            return lacks_end_mark(self._file)
        if self.container == "matroska,webm":
            return ends_within_element(self._file)
        if self.container.startswith("mov") and not self.codec.startswith("pcm_"):
            return bool(packets < self._stream.frames)
        return last is not None and ends_within_packet(last, self.codec, self._sample_bytes)

    @property
    def _sample_bytes(self) -> int:
        """Bytes of one sample of all channels; 1 for anything but PCM."""
        bits = re.search(r"pcm_[a-z]+(\d+)", self.codec)
        return max(1, len(self.names)) * (int(bits[1]) // 8 if bits else 1)


@contextmanager
def open_part(path: Path, part: Part, stream: int | None = None) -> Iterator[PartReader]:
    """Open a part of a file, and its audio stream with an index; without one, the stream that players choose.

    Raises DataError if it has no audio.
    """
    with open_container(path, part) as (file, container):
        yield PartReader(file, part, container, stream)


@contextmanager
def open_container(path: Path, part: Part) -> Iterator[tuple[PartFile, Any]]:
    """The bytes of a part of a file, and PyAV's container of them. Raises DataError if it has no format."""
    with path.open("rb") as opened, ExitStack() as stack:
        options = {"format_whitelist": CONTAINERS}
        try:
            if part.start or part.patches or part.end != path.stat().st_size:
                container = av.open(PartFile(opened, part), metadata_errors="replace", options=options)
            else:
                # FFmpeg gets a descriptor instead of the path, whose suffix may be misleading.
                handle = os.open(path, os.O_RDONLY)
                stack.callback(os.close, handle)
                container = av.open("fd:", metadata_errors="replace", options=options | {"fd": str(handle)})
        except av.error.FFmpegError as error:
            raise DataError("unreadable", what_else(path)) from error
        yield PartFile(opened, part), stack.enter_context(container)


def best_stream(container: Any) -> int:
    """Index of the audio stream that players choose."""
    streams = container.streams
    return list(streams.audio).index(streams.best("audio") or streams.audio[0])


def decoder_of(stream: Any, codec: str | None = None) -> Any:
    """PyAV's decoder of an audio stream; of its PCM samples in another format, if one is given."""
    decoder: Any = stream.codec_context
    if codec and decoder.name.startswith("pcm_") and decoder.name != codec:
        layout, rate = decoder.layout, decoder.sample_rate
        decoder = av.AudioCodecContext.create(codec, "r")
        decoder.layout, decoder.sample_rate = layout, rate
    decoder.thread_count = 1
    if decoder.name == "flac":  # otherwise damaged frames decode to noise
        decoder.options = {"err_detect": "crccheck+explode"}
    return decoder


def as_float(frame: av.AudioFrame) -> Samples:
    """Samples [n, channels] of a decoded frame, float32 with full scale at 1.0."""
    samples: NDArray[Any] = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.itemsize))
    return samples.astype(np.float32)
