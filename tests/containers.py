"""Audio files whose containers are the subject of a test: with clocks that start late, halt or jump, and with
headers that don't fit their data."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr

from tests.paths import RECORDINGS

RATE = 16_000
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")


def speech(seconds: float = 8.0, rate: int = RATE) -> np.ndarray:
    """The start of a demo monologue, mono, float32."""
    samples, own_rate = sf.read(RECORDINGS / "demo/monologues/1998-15444-0004.flac", dtype="float32")
    assert own_rate == RATE
    return soxr.resample(samples[: round(seconds * RATE)], RATE, rate).astype(np.float32)


def encode(
    path: Path,
    signals: Sequence[np.ndarray],
    rate: int,
    codec: str,
    form: str,
    clock: Callable[[float], float] = lambda seconds: seconds,
) -> Path:
    """Write audio streams, each [n] or [n, channels], to a container.

    `clock` gives the time stamp, in seconds, of the sample at a time of the signal.
    """
    with av.open(str(path), "w", format=form) as container:
        streams = []
        for signal in signals:
            stream = container.add_stream(codec, rate=rate)
            stream.layout = "mono" if signal.ndim == 1 else "stereo"
            streams.append(stream)
        for stream, signal in zip(streams, signals, strict=True):
            samples, step = signal.reshape(len(signal), -1), stream.codec_context.frame_size or 1024
            layout = stream.layout.name
            convert = av.AudioResampler(stream.codec_context.format, layout, rate)
            for at in range(0, len(samples), step):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples[at : at + step].T), "fltp", layout
                )
                frame.sample_rate = rate
                for ready in convert.resample(frame):
                    ready.time_base = Fraction(1, rate)
                    ready.pts = round(clock(at / rate) * rate)
                    container.mux(stream.encode(ready))
            container.mux(stream.encode(None))
    return path


def late(offset: float) -> Callable[[float], float]:
    """A clock that starts at an offset in seconds."""
    return lambda seconds: seconds + offset


def halted(at: float, gap: float) -> Callable[[float], float]:
    """A clock with a gap in the audio: nothing was recorded for `gap` seconds."""
    return lambda seconds: seconds + (gap if seconds >= at else 0.0)


def pcm16(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes()


def wav_format(tag=1, channels=1, rate=RATE, byte_rate=None, block=None, bits=16) -> bytes:
    """The `fmt ` chunk of a WAV file."""
    block = channels * bits // 8 if block is None else block
    byte_rate = rate * block if byte_rate is None else byte_rate
    return struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block, bits)


def extensible(bits: int, valid: int) -> bytes:
    """The `fmt ` chunk of mono integers of which only some bits are valid."""
    return wav_format(0xFFFE, bits=bits) + struct.pack("<HHI", 22, valid, 0) + PCM_GUID


def wav(data: bytes, size: int | None = None, form: bytes | None = None, after: bytes = b"") -> bytes:
    """A WAV file whose header declares `size` bytes of data."""
    form = form or wav_format()
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data + after
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def found_at(samples: np.ndarray, excerpt: np.ndarray) -> float:
    """Where an excerpt is heard in samples at 16 kHz, in seconds; fails if it isn't heard."""
    size = 1 << (len(samples) + len(excerpt)).bit_length()
    products = np.fft.irfft(np.fft.rfft(samples, size) * np.conj(np.fft.rfft(excerpt, size)), size)
    at = int(np.abs(products[: len(samples)]).argmax())
    there = samples[at : at + len(excerpt)]
    likeness = abs(products[at]) / (np.linalg.norm(there) * np.linalg.norm(excerpt) + 1e-9)
    assert likeness > 0.8, f"the excerpt isn't heard (correlation {likeness:.2f})"
    return at / RATE
