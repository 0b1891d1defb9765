"""Places decoded audio on the clock of its recording, in the format in which the recording begins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from schemas.errors import DataError
from stages.decode.notes import Notes
from stages.decode.resampling import Resampler
from stages.stage import Samples

TOLERANCE = 0.1
"""Seconds by which time stamps may differ from the number of samples: rounding and jitter of containers."""

LONGEST_OVERLAP = 1.0
"""Seconds. Audio whose time stamps lie less than this before the end of what came before it repeats it, as
where segments of a broadcast were joined. Beyond that the clock was set back."""

MOST_SILENCE = 86_400.0
"""Seconds of silence that gaps of one recording may add up to. A longer one is taken as a broken clock."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Decoded audio, usually a packet of it."""

    samples: Samples
    """[n, channels]"""
    rate: int
    """Hz"""
    time: float | None
    """Start in seconds on the container's clock; None if the container has no time stamps."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class Silence:
    """A gap."""

    samples: int


def silence(samples: int, channels: int) -> Iterator[Samples]:
    """Blocks [n, channels] of silence."""
    block = np.zeros((min(samples, 2**16), channels), np.float32)
    for left in range(samples, 0, -(2**16)):
        yield block[:left]


class Timeline:
    """Turns the pieces of a recording into audio of one format, with a gap wherever the clock has one."""

    def __init__(self, notes: Notes) -> None:
        self.rate = 0
        """Sample rate of the first piece, and so of the output, in Hz; 0 before it."""
        self.channels = 0
        self.offset = 0.0
        """Seconds of silence before the first sound."""
        self.sound = 0
        """Number of output samples per channel, without silence."""
        self.silence = 0
        """Number of samples of silence per channel."""
        self._notes = notes
        self._zero: float | None = None
        """Reading of the container's clock at the start of the recording."""
        self._format: tuple[int, int] = (0, 0)
        """Sample rate and channels of the latest piece."""
        self._resampler: Resampler | None = None
        """Resamples pieces whose rate isn't that of the first."""
        self._held = 0.0
        """Seconds that the resampler holds back."""
        self._drop = 0.0
        """Seconds of repeated audio that are still to be left out."""

    @property
    def seconds(self) -> float:
        """Where the next audio starts, in seconds from the start of the recording."""
        return (self.sound + self.silence) / self.rate + self._held if self.rate else 0.0

    def place(self, pieces: Iterable[Piece], zero: float | None) -> Iterator[Samples | Silence]:
        """Audio [n, channels] and gaps from the pieces of one part of a file, after those of earlier parts.

        `zero` is the reading of the part's clock at the start of the recording; None if the part goes on
        where the last one ended. Raises DataError if a sample rate is implausible.
        """
        self._zero = zero
        waiting: Piece | None = None
        for piece in pieces:
            if waiting and self._follows(waiting):
                self.sound += len(waiting.samples)
                yield waiting.samples
            elif waiting:
                yield from self._place(waiting, piece.time)
            waiting = piece
        if waiting:
            yield from self._place(waiting, None)
        yield from self._end_of_format()

    def _follows(self, piece: Piece) -> bool:
        """Whether a piece goes on where the last one ended and has the format of the first, as most have."""
        return (
            (piece.rate, piece.samples.shape[1]) == self._format == (self.rate, self.channels)
            and self.sound > 0
            and not self._drop
            and (
                piece.time is None
                or (self._zero is not None and abs(piece.time - self._zero - self.seconds) <= TOLERANCE)
            )
        )

    def _place(self, piece: Piece, next_time: float | None) -> Iterator[Samples | Silence]:
        channels = piece.samples.shape[1]
        if (piece.rate, channels) != self._format:
            if not 1000 <= piece.rate <= 768_000 or not channels:
                raise DataError("unreadable", f"its sample rate of {piece.rate} Hz is implausible")
            yield from self._end_of_format()
            self._change_format(piece.rate, channels)
        if piece.time is not None:
            gap = self._gap(piece, piece.time, next_time)
            if gap > 0:
                yield from self._end_of_format()
                samples = round(gap * self.rate)
                self.silence += samples
                yield Silence(samples)
        sound = piece.samples
        if self._drop:
            sound = sound[round(self._drop * piece.rate) :]
            self._drop = max(0.0, self._drop - piece.seconds)
        if self._resampler or channels != self.channels:
            sound = self._converted(sound)
        if len(sound):
            self.sound += len(sound)
            yield sound

    def _gap(self, piece: Piece, time: float, next_time: float | None) -> float:
        """Seconds of silence before a piece; what to drop of it is noted in `_drop`.

        A jump of the clock counts only if the next piece confirms it: a single time stamp may be damaged.
        """
        now = self.seconds
        first = self._zero is not None and not self.sound
        if self._zero is None:
            self._zero = time - now
        ahead = time - self._zero - now
        if self._drop or abs(ahead) <= (0.0 if first else TOLERANCE):
            return 0.0
        after = now + piece.seconds
        if next_time is None or abs(next_time - self._zero - after) < abs(next_time - time - piece.seconds):
            self._notes.add("clock", f"a time stamp that is off by {ahead:.1f} s was ignored", now)
        elif ahead > MOST_SILENCE - (self.silence / self.rate):
            self._zero += ahead
            self._notes.add(
                "clock", f"the clock jumps ahead by {ahead:,.1f} s; the audio goes on without a gap", now
            )
        elif first and ahead < 0:
            self._zero = time
        elif ahead < -LONGEST_OVERLAP:
            self._zero += ahead
            self._notes.add("clock", f"the clock is set back by {-ahead:,.1f} s; the audio goes on", now)
        elif ahead < 0:
            self._drop = -ahead
            self._notes.add(
                "overlap", f"{-ahead:.2f} s that repeat what came before were left out", now, -ahead
            )
        elif first:
            self.offset = round(ahead * self.rate) / self.rate
            return ahead
        else:
            self._notes.add("gap", f"{ahead:.2f} s without audio are silence", now, ahead)
            return ahead
        return 0.0

    def _change_format(self, rate: int, channels: int) -> None:
        if not self.rate:
            self.rate, self.channels = rate, channels
        else:
            was, now = (f"{hz} Hz, {n} channel{'s' * (n > 1)}" for hz, n in (self._format, (rate, channels)))
            first = f"{self.rate} Hz, {self.channels} channel{'s' * (self.channels > 1)}"
            self._notes.add(
                "format", f"the format changes from {was} to {now}; all of it became {first}", self.seconds
            )
        self._format = rate, channels
        self._resampler = self._new_resampler()

    def _new_resampler(self) -> Resampler | None:
        rate = self._format[0]
        return Resampler(rate, self.channels, self.rate) if rate != self.rate else None

    def _converted(self, samples: Samples) -> Samples:
        """Audio of another format in that of the first piece; several channels are mixed to their mean."""
        seconds = len(samples) / self._format[0]
        if samples.shape[1] != self.channels:
            samples = samples.mean(axis=1, keepdims=True).repeat(self.channels, axis=1)
        if self._resampler:
            samples = self._resampler.add(samples)
            self._held += seconds - len(samples) / self.rate
        return samples

    def _end_of_format(self) -> Iterator[Samples]:
        """What the resampler still holds."""
        if self._resampler:
            samples = self._resampler.end()
            self._resampler = self._new_resampler()
            self._held = 0.0
            if len(samples):
                self.sound += len(samples)
                yield samples
