"""The bundled vocoder on a real reader whom it never heard, in the codes of the embedded tokenizer."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from pipeline.evaluation.speech_judge import SpeechJudge
from pipeline.models import resolve
from schemas.layout import merged
from stages.stage import SAMPLE_RATE
from stages.tokenize import TokenizeConfig, load_tokenizer
from stages.train.vocoder.released import SHIPPED, open_vocoder
from stages.train.vocoder.shape import RATE, frames_of
from stages.train.vocoder.stream import VocoderStream
from stages.train.vocoder.vocoder import codes_of
from tests.conftest import DEMO

CONFIG = TokenizeConfig(tokenizer="whisper")
READER = DEMO / "monologues" / "1998-15444-0004.flac"


@pytest.fixture(scope="module")
def vocoder():
    return open_vocoder(SHIPPED, lambda voice: resolve(voice).path)


@pytest.fixture(scope="module")
def tokens() -> list[int]:
    samples, rate = soundfile.read(READER, dtype="float32")
    tokenizer = load_tokenizer(CONFIG, {name: resolve(name).path for name in CONFIG.models})
    (codes,) = tokenizer.encode([soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)])
    return merged(codes).tolist()


def test_it_is_small_and_names_its_tokenizer():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 20e6
    assert codes_of(SHIPPED)["models"] == {name: resolve(name).sha256 for name in CONFIG.models}
    assert json.loads((SHIPPED / "config.json").read_text())["architectures"] == ["TokenVocoder"]
    assert "Demonstration only" in (SHIPPED / "README.md").read_text()


def test_a_readers_words_are_heard_in_a_clean_voice(vocoder, tokens):
    samples, rate = soundfile.read(READER, dtype="float32")
    text = json.loads(Path(f"{READER}.json").read_text())["text"]
    frames = frames_of(len(tokens)) * 256
    original = torch.from_numpy(soxr.resample(samples, rate, RATE).astype(np.float32))[:frames]
    _, spoken = SpeechJudge().compare([original, vocoder.speak(tokens)], text, "en")
    assert spoken.errors.wrong < 0.35 * spoken.errors.of
    assert spoken.alone.dnsmos > 2.8


def test_streaming_gives_the_same_speech(vocoder, tokens):
    stream = VocoderStream(vocoder)
    pieces = [stream.push(tokens[n : n + 7]) for n in range(0, 60, 7)]
    streamed = torch.cat([*pieces, stream.finish()])
    assert torch.allclose(streamed, vocoder.speak(tokens[:63]), atol=1e-3)
