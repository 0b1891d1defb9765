"""Composes dialogues of 2 to 8 speakers with exact references, for measuring diarization.

    python tests/benchmarks/compose_dialogues.py utterances.jsonl --out dialogues

Each line of the JSONL is an utterance of one speaker: {"path": .., "speaker": ..}, with paths relative to
the JSONL. Speakers are divided into two halves by hash, so `dialogues/development` and
`dialogues/untouched` share no voice: tune on the first, report both. The same input gives the same files.
For each dialogue, NAME.flac and NAME.rttm are written, and conditions.jsonl lists how it was made.

Conditions are drawn per dialogue: sample rate (8 or 16 kHz), room, noise, level differences between
speakers of up to 20 dB, level of the whole (down to that of a distant microphone), share of overlaps and
backchannels, and calls with a speaker on each channel that leak into each other.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from pipeline.models import resolve
from stages.voice_activity import VoiceActivity

Signal = NDArray[np.float64]

RATE = 16_000
FRAME = 160
"""Samples; levels are measured every 10 ms."""
HALVES = ("development", "untouched")
KINDS = ("meeting", "telephone", "call", "studio")


@dataclass(frozen=True)
class Conditions:
    name: str
    kind: str
    speakers: tuple[str, ...]
    seconds: float
    level_dbfs: float
    """Level of active speech, before differences between speakers."""
    level_spread_db: float
    noise: str
    snr_db: float
    reverberation_seconds: float
    overlap_share: float
    backchannel_share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("utterances", type=Path, help="JSONL of utterances with `path` and `speaker`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dialogues", type=int, default=40, help="number per half (default: 40)")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.utterances.read_text(encoding="utf-8").split("\n") if line]
    for half, speakers in zip(HALVES, halves({row["speaker"] for row in rows}), strict=True):
        paths: dict[str, list[Path]] = defaultdict(list)
        for row in rows:
            if row["speaker"] in speakers:
                paths[row["speaker"]].append(arguments.utterances.parent / row["path"])
        folder = arguments.out / half
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "conditions.jsonl").open("w", encoding="utf-8") as conditions:
            for number in range(arguments.dialogues):
                rng = np.random.default_rng([HALVES.index(half), number])
                drawn = draw_conditions(f"{half}_{number:02d}", speakers, rng)
                write(folder, drawn, paths, rng)
                conditions.write(json.dumps(asdict(drawn)) + "\n")


def halves(speakers: set[str]) -> tuple[list[str], list[str]]:
    """The speakers in two halves by hash, so that a new speaker doesn't move the others."""
    odd = {name for name in speakers if hashlib.sha256(name.encode()).digest()[0] % 2}
    return sorted(speakers - odd), sorted(odd)


def draw_conditions(name: str, speakers: Sequence[str], rng: np.random.Generator) -> Conditions:
    kind = KINDS[int(name[-2:]) % len(KINDS)]
    number = 2 if kind == "call" else int(rng.integers(2, 9 if kind != "telephone" else 5))
    distant = kind == "meeting"
    return Conditions(
        name=name,
        kind=kind,
        speakers=tuple(rng.choice(speakers, number, replace=False).tolist()),
        seconds=float(rng.uniform(30, 90)),
        level_dbfs=float(rng.uniform(-46, -30) if distant else rng.uniform(-32, -18)),
        level_spread_db=float(rng.choice([3, 10, 20])),
        noise=str(rng.choice(["white", "pink", "brown"])),
        snr_db=float(rng.uniform(10, 25) if distant else rng.uniform(20, 45)),
        reverberation_seconds=float(rng.uniform(0.25, 0.7) if distant else 0.0),
        overlap_share=float(rng.choice([0.0, 0.1, 0.3])),
        backchannel_share=float(rng.choice([0.0, 0.15, 0.3])),
    )


def write(
    folder: Path, conditions: Conditions, paths: dict[str, list[Path]], rng: np.random.Generator
) -> None:
    """Write NAME.flac and NAME.rttm of a dialogue."""
    length = round(conditions.seconds * RATE)
    tracks, spans = {}, []
    ends = dict.fromkeys(conditions.speakers, 0)
    material = {name: Material(paths[name], rng) for name in conditions.speakers}
    for name in conditions.speakers:
        tracks[name] = np.zeros(length)
    position, last = round(0.4 * RATE), ""
    while position < length - RATE:
        others = [name for name in conditions.speakers if name != last]
        name = others[int(rng.integers(len(others)))]
        backchannel = rng.random() < conditions.backchannel_share
        speech = material[name].take(rng.uniform(0.8, 1.5) if backchannel else rng.uniform(1.5, 8))
        start = max(position + round(_gap(conditions, backchannel, rng) * RATE), ends[name], 0)
        speech = speech[: max(0, length - start)]
        if len(speech) < 0.5 * RATE:
            break
        tracks[name][start : start + len(speech)] += speech
        spans.append((start / RATE, (start + len(speech)) / RATE, name))
        ends[name] = start + len(speech) + round(0.1 * RATE)
        if not backchannel:
            last = name
        position = max(position, start + len(speech))
    for name, track in tracks.items():
        gain = conditions.level_dbfs + rng.uniform(-0.5, 0.5) * conditions.level_spread_db
        tracks[name] = track * 10 ** (gain / 20)
        if conditions.reverberation_seconds:
            tracks[name] = _in_room(tracks[name], conditions.reverberation_seconds, rng)
    mixed = _mixed(conditions, list(tracks.values()), rng)
    rate = 8_000 if conditions.kind in ("telephone", "call") else RATE
    if rate != RATE:
        mixed = soxr.resample(mixed, RATE, rate)
        mixed = _telephone(mixed, rate)
    peak = np.abs(mixed).max()
    soundfile.write(folder / f"{conditions.name}.flac", mixed / max(1.0, peak / 0.98), rate)
    lines = []
    for start, end, name in sorted(spans):
        place = f"{_channel(conditions, name)} {start:.3f} {end - start:.3f}"
        lines.append(f"SPEAKER {conditions.name} {place} <NA> <NA> {name} <NA> <NA>\n")
    (folder / f"{conditions.name}.rttm").write_text("".join(lines), encoding="utf-8")


class Material:
    """The utterances of a speaker, in random order; starts again when they are used up."""

    def __init__(self, paths: list[Path], rng: np.random.Generator) -> None:
        self._paths = [paths[i] for i in rng.permutation(len(paths))]
        self._next, self._rest = 0, np.zeros(0, dtype=np.float64)

    def take(self, seconds: float) -> Signal:
        """Speech [n] at 16 kHz and a level of 0 dBFS, of about `seconds`, cut where it is quiet."""
        if len(self._rest) < 0.5 * RATE:
            self._rest = speech_of(self._paths[self._next % len(self._paths)])
            self._next += 1
        wanted = round(seconds * RATE)
        if len(self._rest) - wanted < 0.8 * RATE:
            taken, self._rest = self._rest, np.zeros(0)
            taken = taken[: round(8 * RATE)]
        else:
            low, high = round(0.8 * wanted), round(1.2 * wanted)
            power = np.convolve(self._rest[low:high] ** 2, np.ones(800), "same")
            cut = low + int(power.argmin())
            taken, self._rest = self._rest[:cut], self._rest[cut:]
        fade = np.minimum(1, np.minimum(np.arange(len(taken)), np.arange(len(taken))[::-1]) / 160)
        return taken * fade


@lru_cache(maxsize=256)
def speech_of(path: Path) -> Signal:
    """The speech in a recording [n] at 16 kHz and a level of 0 dBFS, without its pauses."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, RATE)
    stretches = _vad().speech(mono)
    if not stretches:
        raise SystemExit(f"{path}: no speech; remove it from the list of utterances")
    parts = [mono[round(start * RATE) : round(end * RATE)] for start, end in stretches]
    speech = np.concatenate(parts).astype(np.float64)
    frames = speech[: len(speech) // FRAME * FRAME].reshape(-1, FRAME)
    power = (frames**2).mean(axis=1)
    return np.asarray(speech / np.sqrt(power[power > power.max() * 1e-3].mean()))


@lru_cache
def _vad() -> VoiceActivity:
    return VoiceActivity(resolve("package:silero-vad").path)


def _gap(conditions: Conditions, backchannel: bool, rng: np.random.Generator) -> float:
    """Seconds from the end of what was said to the next turn; negative for an overlap."""
    if backchannel and rng.random() < 0.5:
        return float(-rng.uniform(0.5, 2))
    if rng.random() < conditions.overlap_share:
        return float(-rng.uniform(0.1, 1.2))
    return float(0.05 + rng.exponential(0.4))


def _mixed(conditions: Conditions, tracks: list[Signal], rng: np.random.Generator) -> Signal:
    """The tracks as one channel [n], or as two [n, 2] for a call, with noise."""
    if conditions.kind == "call":
        leak = 10 ** (-rng.uniform(15, 40) / 20)
        channels = np.stack([tracks[0] + leak * tracks[1], tracks[1] + leak * tracks[0]], axis=1)
    else:
        channels = np.sum(tracks, axis=0)[:, None]
    noise = np.stack([_noise(conditions.noise, len(channels), rng) for _ in channels.T], axis=1)
    channels = channels + noise * 10 ** ((conditions.level_dbfs - conditions.snr_db) / 20)
    return np.asarray(channels if conditions.kind == "call" else channels[:, 0])


def _noise(colour: str, samples: int, rng: np.random.Generator) -> Signal:
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.arange(len(spectrum)) + 1.0
    spectrum *= frequency ** {"white": 0.0, "pink": -0.5, "brown": -1.0}[colour]
    noise = np.fft.irfft(spectrum, samples)
    return np.asarray(noise / noise.std())


def _in_room(signal: Signal, seconds: float, rng: np.random.Generator) -> Signal:
    """The signal at a distant microphone: direct sound and an exponential tail of `seconds` (RT60)."""
    length = round(seconds * RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= np.sqrt(10 ** (-rng.uniform(-3, 6) / 10) / (tail**2).sum())
    tail[0] += 1
    return np.asarray(fftconvolve(signal, tail)[: len(signal)])


def _telephone(signal: Signal, rate: int) -> Signal:
    """300 to 3400 Hz, with 8-bit mu-law."""
    band = sosfilt(butter(4, (300, 3400), "bandpass", fs=rate, output="sos"), signal, axis=0)
    band = np.clip(band, -1, 1)
    compressed = np.rint(np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(compressed) * np.expm1(np.abs(compressed) * np.log(256)) / 255)


def _channel(conditions: Conditions, name: str) -> int:
    return 1 + conditions.speakers.index(name) if conditions.kind == "call" else 1


if __name__ == "__main__":
    main()
