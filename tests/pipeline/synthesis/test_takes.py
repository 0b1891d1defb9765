"""Which take of a part in a style is kept."""

import pytest
import soundfile
import torch

from pipeline.config.recipe import Recipe
from pipeline.synthesis.plain_speech import PlainSpeech
from pipeline.synthesis.takes import TakeJudge
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio
from tests.pipeline.tiny_models import QUESTION

TEXT = "I really liked that account of himself better than anything else he said."


@pytest.fixture(scope="module")
def best():
    """Keeps one of two takes, where `slow` is asked for."""
    plain_speech = PlainSpeech()
    judge = TakeJudge(Recipe(name="spoken", output="out"), plain_speech)

    def choose(takes, likenesses):
        return judge.best(takes, likenesses, TEXT, "slow", plain_speech.measures(said(1.0)))

    return choose


def said(speed):
    samples, _ = soundfile.read(QUESTION, dtype="float32")
    return SynthesizedAudio(samples, round(speed * SAMPLE_RATE))


@pytest.mark.parametrize(
    ("speeds", "likenesses", "kept", "confirmed"),
    [
        ((1.0, 0.75), (0.9, 0.9), 1, 1),
        ((1.0, 0.75), (0.9, 0.3), 1, 1),  # one that isn't slow would be learnt as slow
        ((0.75, 0.75), (0.3, 0.9), 1, 2),
        ((0.75, 0.75), (0.8, 0.9), 1, 2),
        ((1.0, 1.0), (0.3, 0.9), 1, 0),
    ],
)
def test_a_take_whose_style_is_heard_is_kept_and_of_several_one_that_passes(
    best, speeds, likenesses, kept, confirmed
):
    takes = [said(speed) for speed in speeds]
    found = best(takes, likenesses)
    assert found.utterance is takes[kept]
    assert found.confirmed == confirmed


def whispered():
    """The recording without its pitch: random phases in every 8 ms, under its envelope."""
    samples = torch.from_numpy(said(1.0).samples)
    window = torch.hann_window(256)
    spectrum = torch.stft(samples, 256, 64, window=window, return_complex=True)
    phases = torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    noise = torch.istft(torch.polar(spectrum.abs(), phases), 256, 64, window=window, length=len(samples))
    return SynthesizedAudio(noise.numpy(), SAMPLE_RATE)


def test_a_whispered_take_is_kept_where_one_is_asked_for():
    plain_speech = PlainSpeech()
    labels = {"labels": {"whisper_voiced_max": 0.49}}
    judge = TakeJudge(Recipe(name="spoken", output="out", compose=labels), plain_speech)
    takes, plain = [said(1.0), whispered()], plain_speech.measures(said(1.0))
    found = judge.best(takes, (0.9, 0.3), TEXT, "whispered", plain)
    assert found.utterance is takes[1]
    assert found.confirmed == 1
