"""The bundled vocoder on real speech, in the codes of the embedded tokenizer."""

import json

import numpy as np
import pytest
import soundfile
import soxr
import torch

from pipeline.models import resolve
from schemas.layout import merged
from stages.stage import SAMPLE_RATE
from stages.tokenize import TokenizeConfig, load_tokenizer
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.released import SHIPPED, open_vocoder
from stages.train.vocoder.shape import RATE
from stages.train.vocoder.stream import VocoderStream
from stages.train.vocoder.utterances import VocoderUtterance
from stages.train.vocoder.vocoder import codes_of
from tests.conftest import DEMO

CONFIG = TokenizeConfig(tokenizer="whisper")


@pytest.fixture(scope="module")
def vocoder():
    return open_vocoder(SHIPPED, lambda voice: resolve(voice).path)


@pytest.fixture(scope="module")
def utterance() -> VocoderUtterance:
    samples, rate = soundfile.read(DEMO / "monologues" / "LJ002-0020.wav", dtype="float32")
    tokenizer = load_tokenizer(CONFIG, {name: resolve(name).path for name in CONFIG.models})
    (codes,) = tokenizer.encode([soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)])
    return VocoderUtterance("lj", merged(codes).astype(np.int32), soxr.resample(samples, rate, RATE))


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean difference of two log mels over the frames that both have."""
    mels = [log_mel(samples[None])[0] for samples in (one, other)]
    frames = min(mel.shape[1] for mel in mels)
    return float((mels[0][:, :frames] - mels[1][:, :frames]).abs().mean())


def test_it_is_small_and_names_its_tokenizer():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 20e6
    assert codes_of(SHIPPED)["models"] == {name: resolve(name).sha256 for name in CONFIG.models}
    assert json.loads((SHIPPED / "config.json").read_text())["architectures"] == ["TokenVocoder"]
    assert "Demonstration only" in (SHIPPED / "README.md").read_text()


def test_resynthesis_from_mel_is_closest_then_its_tokens_then_other_tokens(vocoder, utterance):
    original = utterance.audio()
    with torch.no_grad():
        from_mel = vocoder.wave(log_mel(original[None]))[0]
    from_tokens = vocoder.speak(utterance.tokens.tolist())
    from_others = vocoder.speak(np.roll(utterance.tokens, len(utterance.tokens) // 10 * 5).tolist())
    near, further, furthest = (
        distance(original, samples) for samples in (from_mel, from_tokens, from_others)
    )
    assert near < further < 0.8 * furthest


def test_streaming_gives_the_same_speech(vocoder, utterance):
    tokens = utterance.tokens[:60].tolist()
    stream = VocoderStream(vocoder)
    pieces = [stream.push(tokens[n : n + 7]) for n in range(0, len(tokens), 7)]
    streamed = torch.cat([*pieces, stream.finish()])
    assert torch.allclose(streamed, vocoder.speak(tokens), atol=1e-3)
