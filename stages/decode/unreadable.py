"""What a file is that can't be decoded."""

import shlex
from pathlib import Path
from typing import Any

import av
import numpy as np

HEADERLESS = {
    "mulaw": (".ul", ".ulaw", ".mulaw", ".mu", ".pcmu", ".g711", ".g711u"),
    "alaw": (".al", ".alaw", ".pcma", ".g711a"),
    "s16le": (".raw", ".pcm", ".sln", ".slin", ".s16", ".sw"),
    "gsm": (".gsm",),
}
"""Endings of names of audio without a header, by FFmpeg's name of the format."""

LIKE_SPEECH = 0.2
"""Correlation of neighbouring samples above which bytes are speech in a format. At 8 kHz speech has 0.3 in
its own format, and compressed or random bytes have under 0.1 in any."""


_WITH_HEADER = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "WAV",
    b"BW64": "WAV",
    b"riff": "W64",
    b"FORM": "AIFF",
    b"caff": "CAF",
    b".snd": "AU",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"\x1a\x45\xdf\xa3": "Matroska",
}
"""How files begin that have a header."""


def what_else(path: Path) -> str:
    """What a file that can't be decoded appears to be, as a clause for a message."""
    with path.open("rb") as file:
        head = file.read(1024)
    start = head.lstrip().lower()
    if not head:
        return "the file is empty"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start[:512]:
        return "it is an HTML page, such as a server's error message, not audio"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; the audio itself was not downloaded"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "it is JSON, not audio"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        return "it is an archive; extract it first"
    if _is_text(head):
        return "it is a text file, not audio"
    if head[4:8] == b"ftyp":
        return (
            "it is an MP4 file whose index (moov) is missing or damaged: it was truncated or never finished"
        )
    if kind := _WITH_HEADER.get(head[:4]):
        return f"it is a file of type {kind} whose header is damaged or describes no audio"
    if form := _headerless(path):
        new = f"{path.name if path.suffix.lower() == '.wav' else path.stem}.wav"
        command = shlex.join(["ffmpeg", "-f", form, "-ar", "8000", "-i", path.name, new])
        return (
            "it has no known audio format: perhaps headerless telephone audio; give it a container, e.g. "
            f"`{command}`"
        )
    return "it has no known audio format: the file is damaged or not audio"


def _headerless(path: Path) -> str | None:
    """FFmpeg's name of the format of a file without a header, by its name or else by its sound."""
    for form, endings in HEADERLESS.items():
        if path.suffix.lower() in endings:
            return form
    with path.open("rb") as file:
        data = file.read(2**16)
    likeness, form = max((_correlation(data, form), form) for form in ("mulaw", "alaw", "s16le"))
    return form if likeness > LIKE_SPEECH else None


def _correlation(data: bytes, form: str) -> float:
    """Correlation of neighbouring samples of data in a format."""
    decoder: Any = av.CodecContext.create(f"pcm_{form}", "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"
    frames = decoder.decode(av.Packet(data[: len(data) // 2 * 2]))
    samples = np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype(np.float64)
    samples -= samples.mean()
    return float(samples[1:] @ samples[:-1]) / max(1.0, float(samples @ samples))


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
