"""Information in codes: plain k-means on the encoder's final states against the codebooks of this package.

    python tests/benchmarks/codebook_data.py RECORDINGS SPOKEN --out DATA
    aqaa-data codebooks fit --input DATA/fit --holdout DATA/held --out CODEBOOKS
    python tests/benchmarks/codes.py DATA CODEBOOKS

Probes are trained on codes of DATA/fit and tested on DATA/held, separately for the synthesized lines of one
voice and for real recordings:

- spectrum: the mean log-mel spectrum of the frames of a code (ridge regression on one-hot codes); error in
  dB, within 50 dB of the maximum
- pitch: the same for log F0 by pYIN, in voiced frames; correlation
- letters: the current letter of a word, with letters spread evenly over a recogniser's word times, from the
  codes within 180 ms (naive Bayes); accuracy
- words: the current word, among those that occur five times in DATA/fit, from the codes within it; accuracy
- noise, level: share of codes unchanged under white noise at 20 dB, and at -6 dB with a fixed gain
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray

from pipeline.codebooks.recorded_speech import RecordedSpeech
from pipeline.inputs.listing import list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from stages.decode.config import DecodeConfig
from stages.tokenize.acoustics import FRAME, PITCH
from stages.tokenize.codebooks import Codebook, Codebooks
from stages.tokenize.fit import BLOCK, FeatureGroup, FrameReservoir, fit_codebook
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.whisper import Frames, WhisperEncoder

PROBE_EVERY = 5
"""Every fifth synthesized recording trains the probes of pitch, letters and words."""
CONTEXT = 3
"""Linguistic codes on either side of the current one, for letters."""
DB = 40.0
"""dB per unit of Whisper's log-mel spectrum, which scales four decades of power to 1."""

Codes = NDArray[np.intp]


@dataclass
class Stretch:
    spoken: bool
    frames: Frames
    noisy: Frames | None
    quiet: Frames | None
    f0: NDArray[np.float64] | None
    """log2 Hz per 40 ms, NaN where unvoiced"""
    words: list[tuple[float, float, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the information in codes.")
    parser.add_argument("data", type=Path)
    parser.add_argument("codebooks", type=Path)
    arguments = parser.parse_args()
    encoder = WhisperEncoder(resolve("package:whisper-base").path)
    fitted = list(stretches(arguments.data / "fit", encoder, held=False))
    held = list(stretches(arguments.data / "held", encoder, held=True))
    new = Codebooks.load(arguments.codebooks)
    old = Codebooks(
        plain([s.frames.linguistic for s in fitted], encoder, new.linguistic.size),
        plain([s.frames.semantic for s in fitted], encoder, new.semantic.size),
        encoder.sha256,
    )
    for name, codebooks in (("plain", old), ("shipped", new)):
        for line in [
            *semantic(fitted, held, codebooks.semantic),
            *linguistic(fitted, held, codebooks.linguistic),
        ]:
            print(f"{name:8} {line}", flush=True)


def stretches(folder: Path, encoder: WhisperEncoder, held: bool) -> Iterator[Stretch]:
    recogniser = WhisperModel(
        str(resolve("package:whisper-tiny-en").path), compute_type="int8", cpu_threads=1
    )
    noise = np.random.default_rng(0)
    recordings = list_inputs([str(folder)]).recordings
    decode = DecodeConfig()
    with tempfile.TemporaryDirectory() as scratch:
        audio = SpooledAudio(Path(scratch), decode, "codes")
        for index, recording in enumerate(recordings):
            spoken = "spoken" in recording.id
            english = not any(name in recording.id for name in ("multilingual", "_de", "hard"))
            labelled = held or not spoken or index % PROBE_EVERY == 0
            for samples in map(peak_normalised, RecordedSpeech([recording], audio, decode)):
                frames, noisy, quiet = None, None, None
                [frames] = encoder.frames([samples])
                if held:
                    level = np.sqrt((samples**2).mean()) / 10
                    added = noise.normal(0, level, len(samples)).astype(np.float32)
                    noisy, quiet = encoder.frames([samples + added, samples / 2])
                words = []
                if labelled and english:
                    parts, _ = recogniser.transcribe(
                        samples, language="en", beam_size=1, word_timestamps=True, temperature=0
                    )
                    words = [(w.start, w.end, w.word) for part in parts for w in part.words or ()]
                yield Stretch(spoken, frames, noisy, quiet, f0(samples) if labelled else None, words)


def f0(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    count = len(samples) // FRAME
    # A frame of pYIN is centred on its start, one of ours on its middle.
    shifted = np.pad(samples[FRAME // 2 :], (0, 2 * FRAME + FRAME // 2))
    hertz, _, _ = librosa.pyin(
        shifted, fmin=60, fmax=500, sr=16_000, frame_length=1024, hop_length=FRAME, resolution=0.2
    )
    return np.log2(hertz[:count])


def plain(frames: Sequence[NDArray[np.float32]], encoder: WhisperEncoder, size: int) -> Codebook:
    """k-means on 128 principal components of the encoder states, at the width of the frames."""
    width = frames[0].shape[1]
    with tempfile.TemporaryDirectory() as scratch:
        kept = FrameReservoir(
            Path(scratch) / "states",
            (FeatureGroup(encoder.width, 128, 1.0),),
            sum(map(len, frames)) + BLOCK,
            0,
        )
        for vectors in frames:
            kept.add(vectors[:, : encoder.width])
        fitted = fit_codebook("plain", kept, size, epochs=12, seed=0)
    rest = width - encoder.width
    return Codebook(
        np.pad(fitted.mean, (0, rest)), np.pad(fitted.projection, ((0, rest), (0, 0))), fitted.centroids
    )


def semantic(fitted: list[Stretch], held: list[Stretch], book: Codebook) -> Iterator[str]:
    train = [book.nearest(s.frames.semantic) for s in fitted]
    test = [book.nearest(s.frames.semantic) for s in held]
    mel = means(np.concatenate(train), np.concatenate([log_mel(s.frames) for s in fitted]), book.size)
    voiced = [(codes, s.f0) for codes, s in zip(train, fitted, strict=True) if s.f0 is not None]
    codes, heights = np.concatenate([c for c, _ in voiced]), np.concatenate([f for _, f in voiced])
    known = ~np.isnan(heights)
    pitch = means(codes[known], heights[known, None], book.size)[:, 0]
    for kind in (True, False):
        chosen = [(codes, s) for codes, s in zip(test, held, strict=True) if s.spoken == kind]
        found = np.concatenate([codes for codes, _ in chosen])
        error = mel[found] - np.concatenate([log_mel(s.frames) for _, s in chosen])
        truth = np.concatenate([s.f0 for _, s in chosen if s.f0 is not None])
        voice = ~np.isnan(truth)
        correlation = np.corrcoef(pitch[found][voice], truth[voice])[0, 1]
        yield (
            f"semantic, {named(kind)}: spectrum {DB * np.sqrt((error**2).mean()):.1f} dB, "
            f"pitch {correlation:.2f}, {stability(chosen, book, 'semantic')}"
        )
    codes, found = np.concatenate(train), np.concatenate(test)
    yield f"semantic: {use(codes, book.size)} fitted, {use(found, book.size)} held out"


def linguistic(fitted: list[Stretch], held: list[Stretch], book: Codebook) -> Iterator[str]:
    train = [(book.nearest(s.frames.linguistic), s) for s in fitted]
    test = [(book.nearest(s.frames.linguistic), s) for s in held]
    read_letters, read_words = Letters(train, book.size), Words(train, book.size)
    for kind in (True, False):
        chosen = [(codes, s) for codes, s in test if s.spoken == kind]
        yield (
            f"linguistic, {named(kind)}: letters {read_letters.right(chosen):.1%}, "
            f"words {read_words.right(chosen):.1%}, {stability(chosen, book, 'linguistic')}"
        )
    codes = [np.concatenate([c for c, _ in part]) for part in (train, test)]
    yield f"linguistic: {use(codes[0], book.size)} fitted, {use(codes[1], book.size)} held out"


def log_mel(frames: Frames) -> NDArray[np.float32]:
    return frames.semantic[:, frames.linguistic.shape[1] : -PITCH]


def means(codes: Codes, values: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Ridge regression (penalty 1) of values [n, width] on one-hot codes, [size, width]."""
    mean = values.mean(axis=0, dtype=np.float64)
    sums = np.zeros((size, values.shape[1]))
    np.add.at(sums, codes, values - mean)
    return mean + sums / (np.bincount(codes, minlength=size) + 1)[:, None]


class Letters:
    def __init__(self, train: list[tuple[Codes, Stretch]], size: int) -> None:
        self._size = size
        around, letters = self._examples(train)
        self._prior = (np.bincount(letters, minlength=26) + 1) / (len(letters) + 26)
        counts = np.zeros((2 * CONTEXT + 1, size + 1, 26))
        for place, table in enumerate(counts):
            np.add.at(table, (around[:, place], letters), 1)
        shares = (counts + 5 * self._prior) / (counts.sum(axis=2, keepdims=True) + 5)
        self._evidence = np.log(shares / self._prior)

    def right(self, test: list[tuple[Codes, Stretch]]) -> float:
        around, letters = self._examples(test)
        # Neighbouring codes are correlated, so each counts half.
        evidence = sum(table[around[:, place]] for place, table in enumerate(self._evidence)) / 2
        return float(((np.log(self._prior) + evidence).argmax(axis=1) == letters).mean())

    def _examples(self, data: list[tuple[Codes, Stretch]]) -> tuple[Codes, Codes]:
        around, letters = [], []
        for codes, stretch in data:
            padded = np.pad(codes, CONTEXT, constant_values=self._size)
            for start, end, word in stretch.words:
                spelled = re.sub("[^a-z]", "", word.lower())
                for index in within(codes, start, end) if spelled else ():
                    place = ((index + 0.5) * 0.06 - start) / (end - start)
                    around.append(padded[index : index + 2 * CONTEXT + 1])
                    letters.append(ord(spelled[int(place * len(spelled))]) - ord("a"))
        return np.array(around), np.array(letters)


class Words:
    def __init__(self, train: list[tuple[Codes, Stretch]], size: int) -> None:
        examples = list(self._examples(train))
        times = Counter(word for word, _ in examples)
        self._words = [word for word, count in times.items() if count >= 5]
        counts = np.zeros((len(self._words), size))
        for word, codes in examples:
            if times[word] >= 5:
                np.add.at(counts[self._words.index(word)], codes, 1)
        common = (counts.sum(axis=0) + 1) / (counts.sum() + size)
        self._evidence = np.log((counts + 3 * common) / (counts.sum(axis=1, keepdims=True) + 3))
        self._prior = np.log([times[word] for word in self._words])

    def right(self, test: list[tuple[Codes, Stretch]]) -> float:
        known = [(word, codes) for word, codes in self._examples(test) if word in self._words]
        guessed = [(self._prior + self._evidence[:, codes].sum(axis=1)).argmax() for _, codes in known]
        return float(np.mean([self._words[i] == word for i, (word, _) in zip(guessed, known, strict=True)]))

    def _examples(self, data: list[tuple[Codes, Stretch]]) -> Iterator[tuple[str, Codes]]:
        for codes, stretch in data:
            for start, end, word in stretch.words:
                inside = codes[within(codes, start, end)]
                spelled = re.sub("[^a-z']", "", word.lower())
                if spelled and len(inside) > 1:
                    yield spelled, inside


def within(codes: Codes, start: float, end: float) -> Codes:
    """Indices of the codes whose middles are between two times, in seconds."""
    middles = (np.arange(len(codes)) + 0.5) * 0.06
    return np.flatnonzero((middles >= start) & (middles < end))


def stability(data: list[tuple[Codes, Stretch]], book: Codebook, stream: str) -> str:
    same = {}
    for change in ("noisy", "quiet"):
        changed = [book.nearest(getattr(getattr(s, change), stream)) for _, s in data]
        same[change] = np.mean(np.concatenate(changed) == np.concatenate([codes for codes, _ in data]))
    return f"unchanged under noise {same['noisy']:.1%}, at -6 dB {same['quiet']:.1%}"


def use(codes: Codes, size: int) -> str:
    shares = np.bincount(codes, minlength=size) / len(codes)
    shares = shares[shares > 0]
    return f"{len(shares) / size:.1%} used, perplexity {np.exp(-(shares * np.log(shares)).sum()):.0f}"


def named(spoken: bool) -> str:
    return "synthesized" if spoken else "real"


if __name__ == "__main__":
    main()
