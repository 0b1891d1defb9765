import pytest
import torch

from schemas.errors import SetupError
from stages.train.vocoder.hift import HiFT
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.noise import noise
from stages.train.vocoder.shape import HiFTShape, frames_of
from stages.train.vocoder.stream import VocoderStream, WaveStream
from stages.train.vocoder.vocoder import Vocoder
from tests.stages.train.vocoder.small_shapes import LITTLE_PLAIN_WAVE, LITTLE_WAVE, randomised

SAME = 0.01
"""Difference of speech that counts as the same. Rounding errors of the pitch add up in the phase of
harmonics, until the next unvoiced frame."""


def difference(one, other):
    """Root mean square of the difference, relative to that of the other."""
    return ((one - other).square().mean() / other.square().mean()).sqrt().item()


def streamed(vocoder, tokens, piece, **how):
    stream = VocoderStream(vocoder, **how)
    samples = [stream.push(tokens[at : at + piece]) for at in range(0, len(tokens), piece)]
    return torch.cat([*samples, stream.finish()])


@pytest.mark.parametrize("piece", [1, 7, 15, 113])
def test_streamed_speech_equals_that_of_the_whole_utterance(vocoder, tokens, piece):
    """The last blocks no longer attend to the first ones."""
    whole = vocoder.speak(tokens, steps=3)
    assert whole.abs().max() > 0.01
    assert len(whole) == frames_of(len(tokens)) * 256
    assert difference(streamed(vocoder, tokens, piece, steps=3), whole) < SAME


@pytest.mark.parametrize("length", [1, 2, 5, 14, 15, 16, 19, 20, 30])
def test_utterances_of_any_length_end_the_same(vocoder, tokens, length):
    whole = vocoder.speak(tokens[:length], steps=2)
    assert len(whole) == frames_of(length) * 256
    assert difference(streamed(vocoder, tokens[:length], 4, steps=2), whole) < SAME


def test_a_seed_and_a_speaker_have_the_same_effect_when_streaming(vocoder, tokens):
    speaker = torch.randn(192, generator=torch.Generator().manual_seed(3)).tolist()
    how = {"steps": 2, "seed": 5, "speaker": speaker}
    whole = vocoder.speak(tokens, **how)
    assert difference(streamed(vocoder, tokens, 9, **how), whole) < SAME
    assert difference(vocoder.speak(tokens, steps=2, speaker=speaker), whole) > 5 * SAME
    assert difference(vocoder.speak(tokens, steps=2, seed=5), whole) > 5 * SAME


def test_the_first_audio_comes_after_a_block_and_its_look_ahead(vocoder, tokens):
    stream = VocoderStream(vocoder, steps=2)
    for at in range(19):
        assert not len(stream.push(tokens[at : at + 1]))
    # 31 frames, of which three are looked ahead to, and half a window stands out over the start.
    assert len(stream.push(tokens[19:20])) == 28 * 256 - 384


def test_a_frame_always_has_the_same_noise():
    whole = noise(3, 0, 2100, 80)
    parts = [noise(3, first, end, 80) for first, end in ((0, 1000), (1000, 1025), (1025, 2100))]
    assert torch.equal(torch.cat(parts, 2), whole)
    assert not torch.equal(noise(4, 0, 100, 80), whole[:, :, :100])
    assert whole.std().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(noise(2**63 - 1, 0, 100, 80), noise(2**63 - 2, 0, 100, 80))  # any seed


@pytest.mark.parametrize(("shape", "same"), [(LITTLE_WAVE, SAME), (LITTLE_PLAIN_WAVE, 1e-6)])
@pytest.mark.parametrize("cuts", [[1, 2, 3, 44], [50], [20, 30], [0, 49, 1], [1], [2, 1]])
def test_the_generator_streams_mels_in_pieces_of_any_size(shape, same, cuts):
    wave = randomised(Generator(shape)).eval()
    mel = torch.randn(1, 80, sum(cuts), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = wave(mel)[0].clamp(-1, 1)
        stream = WaveStream(wave)
        samples = torch.cat([*(stream.push(piece) for piece in mel.split(cuts, 2)), stream.finish()])
    assert difference(samples, whole) < same


def test_a_voiced_stream_has_the_same_noise_and_pulses_each_time(vocoder, tokens):
    """And the pulses matter: the speech is another one where the head hears no voice."""
    spoken = streamed(vocoder, tokens, 15, steps=2)
    assert torch.equal(spoken, streamed(vocoder, tokens, 15, steps=2))
    vocoder.wave.pitch.out.bias.data[1] = -100
    assert not torch.allclose(spoken, streamed(vocoder, tokens, 15, steps=2), atol=1e-2)


def test_an_invalid_token_is_refused(vocoder):
    with pytest.raises(ValueError, match=r"0\.\.5119, got 5120"):
        VocoderStream(vocoder).push([3, 5120])
    with pytest.raises(ValueError, match="no audio tokens"):
        vocoder.speak([])


def test_a_vocoder_that_sees_the_whole_utterance_does_not_stream(vocoder):
    public = Vocoder(vocoder.flow, HiFT(HiFTShape(16, 8)))
    with pytest.raises(SetupError, match="can't stream"):
        VocoderStream(public)
