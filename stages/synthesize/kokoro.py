"""Kokoro-82M (Apache-2.0): a small model that speaks in many voices, with ONNX Runtime on the CPU."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError, SetupError
from stages.stage import Samples
from stages.synthesize.audio import LEVELS, SynthesizedAudio, apply_style
from stages.synthesize.flite import is_flites
from stages.synthesize.mandarin import HAN
from stages.synthesize.phonemes import LANGUAGES, PHONEMES_MAX, Phonemes, pieces
from stages.synthesize.styles import UNCHANGED, StyleConfig

RATE = 24_000
"""Sample rate in Hz."""
MODEL = "package:kokoro"

HUMAN_VOICES = ("af_sarah", "am_michael", "bf_lily", "bm_george", "zm_yunxi", "zm_yunyang")
ASSISTANT_VOICES = ("af_heart", "zf_xiaoyi")
"""One for each language."""

CHINESE_REFERENCE = "今天天气很好，我们一起去公园散步，顺便买一些水果和面包回来。"
"""The sentence of `synthesize.reference` for Chinese voices."""

STYLE_SIZE = 256
PAUSE = 0.2
"""Seconds of silence between the pieces of a long text."""
QUIET_DB = -45
"""Level below the loudest sample under which the start and end of a piece is silence."""
EDGE = 0.04
"""Seconds of silence that are left there."""


def is_pipers(voice: str) -> bool:
    """Whether a voice is one of piper, which may speak beside those of kokoro: a model of its own."""
    return voice.startswith("package:") or voice.endswith(".onnx")


def is_kokoros(voice: str) -> bool:
    return not (is_pipers(voice) or is_flites(voice))


def language_of(voice: str) -> str:
    """The key in `LANGUAGES` of a voice, by its name: that of `af_heart` and `file:/x/af_sky.bin` is `a`, and
    so is that of any voice of piper or flite.

    Raises SetupError for a name of another form.
    """
    if not is_kokoros(voice):
        return "a"
    name = Path(voice).name
    if not re.match(rf"[{''.join(LANGUAGES)}][fm]_", name):
        known = ", ".join(f"{letter} {language}" for letter, (language, _) in LANGUAGES.items())
        raise SetupError(
            f"voice {voice}: the names of kokoro's voices begin with their language and f or m, such as "
            f"af_heart ({known})"
        )
    return name[0]


def kokoro_defaults(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The voices of both sides where `values` name those of one side or none: no voice has both sides."""
    named = {side: voices for side, voices in values.items() if isinstance(voices, list | tuple)}
    others = [voice for voice in HUMAN_VOICES if voice not in named.get("human_voices", ())]
    assistant = [voice for voice in ASSISTANT_VOICES if voice not in named.get("human_voices", ())]
    assistant = assistant or others[:1]
    taken = named.get("assistant_voices", assistant)
    human = [voice for voice in HUMAN_VOICES if voice not in taken]
    return {"human_voices": tuple(human), "assistant_voices": tuple(assistant)}


def voices_for(text: str, voices: Sequence[str]) -> Sequence[str]:
    """Those of the voices that speak the language of a text: Chinese if it has Chinese characters.

    All of them if none does.
    """
    chinese = HAN.search(text) is not None
    return [voice for voice in voices if (language_of(voice) == "z") == chinese] or voices


class Kokoro:
    """The model with one or more voices (.bin files); one for all threads of a process.

    `model` is a folder with `model.bin` and `vocab.json`. A text always results in the same samples, of 16
    bits. Raises SetupError if a file is not that of a voice.
    """

    def __init__(self, model: Path, voices: Mapping[str, Path], speed: float = 1.0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A text is spoken on one core, and several texts at once by the threads that call.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(model / "model.bin"), options, providers=["CPUExecutionProvider"]
        )
        self._ids: dict[str, int] = json.loads((model / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._voices = {name: _styles(name, path) for name, path in voices.items()}
        self._speed = speed
        self._phonemes = Phonemes()

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        """Raises SetupError if what turns text into phonemes is not installed."""
        return [
            each if isinstance(each, DataError) else apply_style(self._spoken(each, voice, style.pace), style)
            for each in self._phonemes(texts, language_of(voice))
        ]

    def _spoken(self, phonemes: str, voice: str, pace: float) -> SynthesizedAudio:
        known = "".join(symbol for symbol in phonemes if symbol in self._ids)
        pause = np.zeros(round(PAUSE * RATE), np.float32)
        blocks: list[Samples] = []
        for piece in pieces(known):
            blocks += [pause, self._piece(piece, self._voices[voice], self._speed * pace)]
        levels = np.rint(np.concatenate(blocks[1:]) * LEVELS).clip(-LEVELS, LEVELS - 1)
        return SynthesizedAudio(levels.astype(np.float32) / np.float32(LEVELS), RATE)

    def _piece(self, phonemes: str, styles: NDArray[np.float32], speed: float) -> Samples:
        """Samples [n] at `RATE` of up to `PHONEMES_MAX` phonemes."""
        tokens = [self._ids[symbol] for symbol in phonemes]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": styles[len(tokens)],
            "speed": np.array([speed], np.float32),
        }
        (samples,) = self._session.run(None, inputs)
        return _trimmed(np.asarray(samples, np.float32).ravel())


def _styles(name: str, path: Path) -> NDArray[np.float32]:
    """Style vectors [length in phonemes, 1, 256] of a voice."""
    language_of(name)
    styles = np.fromfile(path, "<f4")
    if styles.size != (PHONEMES_MAX + 1) * STYLE_SIZE:
        raise SetupError(f"voice {name}: {path} is not a voice of Kokoro-82M, which has 522,240 bytes")
    return styles.reshape(-1, 1, STYLE_SIZE)


def _trimmed(samples: Samples) -> Samples:
    """Without the silence at both ends, of which the model makes up to half a second."""
    loudness = np.abs(samples)
    sounding = np.flatnonzero(loudness > loudness.max() * 10 ** (QUIET_DB / 20))
    if not sounding.size:
        return samples
    edge = round(EDGE * RATE)
    return samples[max(0, sounding[0] - edge) : sounding[-1] + edge]
