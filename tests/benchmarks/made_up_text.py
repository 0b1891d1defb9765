"""Text that recognisers make up where nobody says it: how much of it passes `select`.

    python tests/benchmarks/made_up_text.py DATA FOLDER              # makes the sounds, then annotates them
    python tests/benchmarks/made_up_text.py DATA FOLDER --half test  # the half that nothing was tuned on

DATA holds recordings and their MANIFEST.jsonl, as described in quality.py; FOLDER gets the sounds and what
was annotated, which later runs use again. A dozen or more sounds of each kind are made from nothing (silence,
noise, tones, beeps, music, breathing), from the gold utterances (repeated, cut, joined in two languages), or
spoken by the packaged voice (digits). Every sound is annotated twice: with the turns that diarize finds, and
as a single turn, as if somebody had annotated it. The table has the words that nobody said, before and after
`select`.
"""

import argparse
import hashlib
import json
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer
import numpy as np
import opencc
import soundfile
import soxr
from faster_whisper.audio import decode_audio
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from pipeline.config.recipe import Recipe
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from pipeline.planning.plan import plan_stages
from schemas.recording import Diarization, DiarizeColumn, Recording, Turn, Unit
from schemas.turn import AnnotatedTurn, turns_of
from stages.select import SelectConfig, select
from stages.select.words import words_of
from stages.stage import Samples
from stages.synthesize.speech import Piper
from stages.transcribe.whisper import WhisperRecogniser

RATE = 16_000
EACH = 12
NEW = ("words_outside_speech_max",)
"""Thresholds that the column `before` does without."""
NO_SPEECH = (
    "silence",
    "noise",
    "tones",
    "beeps",
    "music",
    "breathing",
    "humming",
    "murmur",
    "backwards",
    "recorded",
)


@dataclass(frozen=True)
class Sound:
    name: str
    kind: str
    samples: Samples
    """[n] at 16 kHz."""
    said: str
    language: str = "en"


@dataclass(frozen=True)
class Said:
    path: str
    samples: Samples
    text: str
    language: str


def half_of(name: str) -> str:
    """Whether a sound may be looked at while tuning (`dev`), or not (`test`)."""
    return ("dev", "test")[hashlib.sha256(name.encode()).digest()[0] % 2]


# --- sounds without speech


def silence(rng: np.random.Generator, n: int) -> Samples:
    """Digital silence, or the noise of a quiet input."""
    return rng.normal(0, 10 ** (-rng.uniform(50, 90) / 20), n) * (rng.random() > 0.3)


def noise(rng: np.random.Generator, n: int) -> Samples:
    """White to brown noise at -10 to -45 dB, in part with the hum of the mains."""
    slope, level = rng.uniform(0, 2), 10 ** (-rng.uniform(10, 45) / 20)
    spectrum = np.fft.rfft(rng.normal(0, 1, n)) / np.maximum(1, np.arange(n // 2 + 1)) ** (slope / 2)
    sound = np.fft.irfft(spectrum, n)
    hum = np.sin(2 * np.pi * rng.choice([50, 60]) * np.arange(n) / RATE) * rng.integers(0, 2)
    return level * (sound / np.abs(sound).max() + 0.3 * hum)


def tones(rng: np.random.Generator, n: int) -> Samples:
    """One to three steady or sliding tones, as of a test generator or a siren."""
    at = np.arange(n) / RATE
    sound = np.zeros(n)
    for _ in range(rng.integers(1, 4)):
        slide = rng.choice([0, 1]) * rng.uniform(20, 300) * np.sin(2 * np.pi * rng.uniform(0.2, 3) * at)
        sound += np.sin(2 * np.pi * np.cumsum(rng.uniform(120, 3000) + slide) / RATE)
    return 10 ** (-rng.uniform(6, 30) / 20) * sound / 3


def beeps(rng: np.random.Generator, n: int) -> Samples:
    """Dialled digits, ringing and engaged tones of telephones, alarms."""
    pairs = [(697, 1209), (770, 1336), (852, 1477), (941, 1336), (440, 480), (425, 425), (1000, 1000)]
    on, off = (rng.uniform(0.08, 0.4) if rng.random() < 0.6 else rng.uniform(0.5, 2) for _ in range(2))
    sound, position = np.zeros(n), 0
    pair = pairs[rng.integers(len(pairs))]
    while position < n:
        pair = pairs[rng.integers(len(pairs))] if on < 0.2 else pair
        length = min(n - position, round(on * RATE))
        at = np.arange(length) / RATE
        sound[position : position + length] = sum(np.sin(2 * np.pi * f * at) for f in pair)
        position += length + round(off * RATE)
    return 10 ** (-rng.uniform(6, 30) / 20) * sound / 2 + rng.normal(0, 10 ** (-rng.uniform(50, 80) / 20), n)


def music(rng: np.random.Generator, n: int) -> Samples:
    """Notes of decaying harmonics on a scale, some with a beat."""
    sound = np.zeros(n)
    scale, beat = 110 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12), rng.uniform(0.15, 0.5)
    for number in range(int(n / RATE / beat)):
        start = round(number * beat * RATE)
        at = np.arange(min(n - start, RATE)) / RATE
        for pitch in rng.choice(scale, rng.integers(1, 4)) * rng.choice([1, 2, 4]):
            harmonics = sum(np.sin(2 * np.pi * k * pitch * at) / k for k in range(1, 7))
            sound[start : start + len(at)] += harmonics * np.exp(-at * rng.uniform(2, 8))
        if number % 2 == 0 and rng.random() < 0.7:
            hit = rng.normal(0, 1, min(n - start, 2000)) * np.exp(-np.arange(min(n - start, 2000)) / 300)
            sound[start : start + len(hit)] += hit
    return 10 ** (-rng.uniform(3, 25) / 20) * sound / np.abs(sound).max()


def breathing(rng: np.random.Generator, n: int) -> Samples:
    """Breath, wind on the microphone, knocks and typing: bursts of filtered noise."""
    sound, position = np.zeros(n), 0
    slow = rng.random() < 0.6
    while position < n:
        length = min(n - position, round(RATE * (rng.uniform(0.4, 1.4) if slow else rng.uniform(0.01, 0.06))))
        if length < 8:
            break
        spectrum = np.fft.rfft(rng.normal(0, 1, length))
        hertz = np.fft.rfftfreq(length, 1 / RATE)
        center = rng.uniform(300, 2500)
        burst = np.fft.irfft(spectrum * np.exp(-(((hertz - center) / center) ** 2)), length)
        burst *= np.hanning(length) if slow else np.exp(-np.arange(length) / length * 6)
        sound[position : position + length] += burst / max(1e-9, np.abs(burst).max())
        position += length + round(RATE * (rng.uniform(0.3, 1.2) if slow else rng.uniform(0.05, 0.5)))
    return 10 ** (-rng.uniform(10, 40) / 20) * sound + rng.normal(0, 10 ** (-rng.uniform(55, 80) / 20), n)


def humming(rng: np.random.Generator, n: int) -> Samples:
    """A voice without words: pulses at a gliding pitch through the resonances of a vowel."""
    at = np.arange(n) / RATE
    pitch = rng.uniform(90, 280) * 2 ** (rng.uniform(0, 0.4) * np.sin(2 * np.pi * rng.uniform(0.2, 2) * at))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0.0)
    hertz = np.fft.rfftfreq(n, 1 / RATE)
    formants = rng.choice([[300, 900, 2300], [650, 1100, 2500], [280, 2200, 2900], [450, 1800, 2500]])
    gain = sum(1 / (1 + ((hertz - formant) / 90) ** 2) for formant in formants)
    sound = np.fft.irfft(np.fft.rfft(pulses) * gain, n)
    sound *= 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 4) * at)
    return 10 ** (-rng.uniform(6, 30) / 20) * sound / np.abs(sound).max()


GENERATORS: dict[str, Callable[[np.random.Generator, int], Samples]] = {
    "silence": silence,
    "noise": noise,
    "tones": tones,
    "beeps": beeps,
    "music": music,
    "breathing": breathing,
    "humming": humming,
}


# --- sounds with speech


def utterances(data: Path) -> list[Said]:
    """The gold utterances."""
    rows = [json.loads(line) for line in (data / "MANIFEST.jsonl").open(encoding="utf-8")]
    return [
        Said(row["path"], decode_audio(str(data / row["path"]), RATE), row["transcript"], row["language"])
        for row in rows
        if row["kind"] == "utterance" and str(row.get("transcript_kind")).startswith("gold")
    ]


def cuts(said: Said, aligner: WhisperRecogniser) -> list[tuple[float, float, str]]:
    """(start, end, text) of the words of an utterance of at most 30 s."""
    [words] = aligner.align([said.samples[: 30 * RATE]], [said.text], said.language)
    return [(word.start, word.end, word.text) for word in words]


def part(said: Said, words: list[tuple[float, float, str]], first: int, last: int, into: float) -> Samples:
    """The samples of some words; `into` is the share of the words before and after that is left in."""
    start = (
        words[first][0]
        if first == 0
        else words[first - 1][1] - into * (words[first - 1][1] - words[first - 1][0])
    )
    end = (
        words[last - 1][1]
        if last == len(words)
        else words[last][0] + into * (words[last][1] - words[last][0])
    )
    return said.samples[max(0, round(start * RATE)) : round(end * RATE)]


def from_recordings(data: Path, spoken: list[Said]) -> Iterator[Sound]:
    """Murmur of many voices at once, speech backwards, and pieces of recorded music and noises."""
    several = [one.samples for one in spoken if 4 <= len(one.samples) / RATE <= 16]
    for k in range(EACH + 5):
        rng = np.random.default_rng(200 + k)
        n = round(rng.uniform(3, 6) * RATE)
        voices = [np.resize(several[i], n) for i in rng.choice(len(several), rng.integers(8, 13), False)]
        murmur = sum(voice / np.sqrt(np.mean(voice**2) + 1e-9) for voice in voices)
        yield Sound(f"murmur-{k:02d}", "murmur", 0.1 * murmur / np.abs(murmur).max(), "")
        one = several[(3 * k) % len(several)]
        yield Sound(f"backwards-{k:02d}", "backwards", one[: round(rng.uniform(2, 6) * RATE)][::-1], "")
    rows = [json.loads(line) for line in (data / "MANIFEST.jsonl").open(encoding="utf-8")]
    for row in rows:
        if row["kind"] in ("music", "noise"):
            samples = decode_audio(str(data / row["path"]), RATE)
            for k, start in enumerate(range(0, max(1, len(samples) - RATE), 3 * RATE // 2)):
                piece = samples[start : start + (2 + k % 4) * RATE]
                yield Sound(f"recorded-{Path(row['path']).stem}-{k:02d}", "recorded", piece, "")


def with_speech(spoken: list[Said]) -> Iterator[Sound]:
    """Repeated, cut and short utterances, two languages in one, digits, and sounds after speech."""
    path = resolve("package:whisper-base").path
    aligner = WhisperRecogniser(path, "cpu", "int8", 1, 1)
    short = [one for one in spoken if 3 <= len(one.samples) / RATE <= 16 and len(words_of(one.text)) >= 8]
    english = [one for one in short if one.language == "en"]
    foreign = [one for one in spoken if one.language != "en"]
    aligned = {one.path: cuts(one, aligner) for one in [*english[: 2 * EACH], *foreign]}
    for k, one in enumerate(english[:EACH]):
        words = aligned[one.path]
        few = part(one, words, 0, 3, 0.0)
        said = "".join(word for *_, word in words[:3])
        yield Sound(f"loops-{k:02d}", "loops", np.tile(few, 4 + k % 5), f"{said} " * (4 + k % 5))
    for k, one in enumerate(english[EACH : 2 * EACH]):
        words = aligned[one.path]
        first, last = 1 + k % 3, len(words) - 1 - k % 2
        said = "".join(word for *_, word in words[first:last])
        yield Sound(f"cut-{k:02d}", "cut words", part(one, words, first, last, 0.45), said)
    for k in range(EACH):
        one = foreign[k % len(foreign)]
        words = aligned[one.path]
        first = (3 * k) % max(1, len(words) - 4)
        last = min(len(words), first + (4 if one.language == "zh" else 2))
        said = "".join(word for *_, word in words[first:last])
        yield Sound(
            f"short-{k:02d}", "short, other language", part(one, words, first, last, 0.0), said, one.language
        )
    chinese = [one for one in foreign if one.language == "zh" and len(one.samples) / RATE < 10]
    for k in range(EACH):
        a, b = chinese[k % len(chinese)], english[(5 * k) % len(english)]
        x, y = aligned.get(a.path) or cuts(a, aligner), aligned.get(b.path) or cuts(b, aligner)
        left, right = part(a, x, 0, len(x), 0.0), part(b, y, 0, min(5, len(y)), 0.0)
        said = ["".join(w for *_, w in x), "".join(w for *_, w in y[:5])]
        order = (left, right) if k % 2 else (right, left)
        yield Sound(
            f"switch-{k:02d}",
            "code-switching",
            np.concatenate(order),
            " ".join(said if k % 2 else said[::-1]),
        )
    voice = "package:piper-joe"
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(digits, 4 + k)) for k in range(EACH)]
    for k, audio in enumerate(
        Piper({voice: resolve(voice).path}).speak([f"{text}." for text in texts], voice)
    ):
        yield Sound(f"digits-{k:02d}", "digits", soxr.resample(audio.samples, audio.rate, RATE), texts[k])
    for k in range(EACH):
        one = english[(7 * k + 3) % len(english)]
        kind = list(GENERATORS)[k % len(GENERATORS)]
        rest = GENERATORS[kind](np.random.default_rng(100 + k), (4 + k % 5) * RATE)
        yield Sound(f"after-{k:02d}", "speech, then none", np.concatenate([one.samples, rest]), one.text)


def sounds(data: Path) -> Iterator[Sound]:
    spoken = utterances(data)
    for kind, generate in GENERATORS.items():
        for k in range(EACH + 5):
            name = f"{kind}-{k:02d}"
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            rng = np.random.default_rng(seed)
            yield Sound(name, kind, generate(rng, round(rng.uniform(2, 9) * RATE)), "")
    yield from from_recordings(data, spoken)
    yield from with_speech(spoken)
    for one in spoken:
        yield Sound(f"gold-{Path(one.path).stem}", "gold", one.samples, one.text, one.language)


# --- annotation


def annotate(folder: Path, given: bool, names: list[str]) -> dict[str, list[AnnotatedTurn]]:
    """Name of a sound -> its turns: those that diarize finds, or one over the whole sound where `given`."""
    audio = SpooledAudio(folder / "spool", Recipe(name="sounds").decode, "sounds")
    stages = []
    for planned in plan_stages(Recipe(name="sounds"))[:4]:  # all but tokenize
        stage = planned.type(planned.config, audio, {m.reference: m.path for m in planned.models}, 1)
        stage.setup()
        stages.append(stage)
    found: dict[str, list[AnnotatedTurn]] = {}
    for name in names:
        path = folder / f"{name}.flac"
        recording = Recording(path.name, str(path), path.stat().st_size, "1", "{}")
        for stage in stages:
            if given and stage.name == "diarize":
                turn = Turn(0.0, soundfile.info(path).duration, "A", 0, False)
                column = DiarizeColumn(Diarization("rttm", (), (), (turn,)))
                recording = replace(recording, diarize=column)
            else:
                recording = stage(Unit("u", (recording,))).recordings[0]
        found[name] = list(turns_of(recording))
    return found


# --- counts

_english, _basic = EnglishTextNormalizer(), BasicTextNormalizer()
_simplified = opencc.OpenCC("tw2s").convert


def normalised(text: str, language: str) -> list[str]:
    """The words after Whisper's normalisation. A digit is a word: "45 6" is spoken as "four five six"."""
    text = _english(text) if language == "en" else _basic(_simplified(text))
    return words_of(re.sub(r"\d", r" \g<0> ", _simplified(text)))


def not_said(reference: list[str], heard: list[str]) -> int:
    """Words that were heard and not said: all that don't match the reference."""
    if not reference or not heard:
        return len(heard)
    return len(heard) - jiwer.process_words(" ".join(reference), " ".join(heard)).hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=["dev", "test"], help="only this half of the sounds")
    parser.add_argument("--list", action="store_true", help="also print the made-up text that passes")
    arguments = parser.parse_args()
    folder = arguments.folder
    if not (folder / "sounds.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        listed = {}
        for sound in sounds(arguments.data):
            soundfile.write(folder / f"{sound.name}.flac", np.clip(sound.samples, -1, 1), RATE)
            listed[sound.name] = [sound.kind, sound.said, sound.language]
        (folder / "sounds.json").write_text(json.dumps(listed, ensure_ascii=False))
    listed = json.loads((folder / "sounds.json").read_text())
    for mode in ("given", "found"):
        kept = folder / f"{mode}.pickle"
        annotated = pickle.loads(kept.read_bytes()) if kept.exists() else {}
        if missing := [name for name in listed if name not in annotated]:
            annotated |= annotate(folder, mode == "given", missing)
            kept.write_bytes(pickle.dumps(annotated))
        report(mode, annotated, listed, arguments.half, arguments.list)


def report(
    mode: str,
    annotated: dict[str, list[AnnotatedTurn]],
    listed: dict[str, list[str]],
    half: str | None,
    show: bool,
) -> None:
    """Print the table of one way to find turns."""
    config = SelectConfig()
    before = config.model_copy(update=dict.fromkeys(NEW))
    rows: dict[str, np.ndarray] = {}
    for name, turns in annotated.items():
        kind, said, language = listed[name]
        if half and half_of(name) != half:
            continue
        row = rows.setdefault(kind, np.zeros(8))
        heard = [turn for turn in turns if turn.transcript]
        reference = normalised(said, language)
        counts = []
        for settings in (None, before, config):
            kept = [turn for turn in heard if settings is None or select(turn, settings) is None]
            words = [w for turn in kept for w in normalised(turn.transcript.text, language)]
            counts += [not_said(reference, words), len(kept) > 0]
            if show and settings is config and counts[-2] and kind != "gold":
                print("   ", mode, name, counts[-2], [turn.transcript.text for turn in kept])
        row += [1, sum(turn.turn.seconds for turn in heard), *counts]
    print(f"\nturns {mode}: words that nobody said (sounds with kept text), half: {half or 'both'}")
    print(f"{'':24}{'sounds':>8}{'recognised':>16}{'select before':>16}{'select now':>16}")
    rows["all without speech"] = np.sum([rows[kind] for kind in NO_SPEECH if kind in rows], axis=0)
    for kind, (sounds_, _, a, na, b, nb, c, nc) in rows.items():
        print(f"{kind:24}{sounds_:8.0f}{a:10.0f} ({na:3.0f}){b:10.0f} ({nb:3.0f}){c:10.0f} ({nc:3.0f})")


if __name__ == "__main__":
    main()
