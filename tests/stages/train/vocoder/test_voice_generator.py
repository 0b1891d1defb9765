"""The generator of the packaged voice, and vocoders that end in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.models import resolve
from schemas.errors import SetupError
from stages.train.vocoder.flow import Flow
from stages.train.vocoder.shape import HOP, LATENTS, PRESETS, frames_of
from stages.train.vocoder.stream import VocoderStream
from stages.train.vocoder.vocoder import Vocoder, load, save
from stages.train.vocoder.voice_file import voice_file
from stages.train.vocoder.voice_generator import REACH, VoiceGenerator, VoiceStream
from tests.stages.train.vocoder.small_shapes import LITTLE_VOICE, randomised

SHAPE = PRESETS["voice"].wave


@pytest.fixture(scope="module")
def voice():
    return resolve(SHAPE.voice).path


@pytest.fixture(scope="module")
def generator(voice) -> VoiceGenerator:
    generator = VoiceGenerator(SHAPE).eval().requires_grad_(False)
    generator.read(voice)
    return generator


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn(1, LATENTS, 60, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def speaking(generator) -> Vocoder:
    """From random tokens to the packaged voice, with random weights up to its latents."""
    flow = randomised(Flow(LITTLE_VOICE)).eval()
    flow.normalise_by(torch.stack([torch.linspace(-1, 1, LATENTS), torch.full((LATENTS,), 1.8)]))
    return Vocoder(flow, generator)


def test_latents_become_the_waveform_that_the_voice_itself_makes_of_them(voice, generator):
    """A run of the whole file, with the latents as a second output."""
    import onnx
    import onnxruntime

    model = onnx.load(str(voice_file(voice)))
    [name] = [node.input[0] for node in model.graph.node if "dec.conv_pre.weight" in node.input]
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.array([[1, 0, 20, 0, 59, 0, 24, 0, 120, 0, 27, 0, 100, 0, 10, 0, 2]])
    feed = {
        "input": ids,
        "input_lengths": np.array([ids.size]),
        "scales": np.array([0.6, 1, 0.8], np.float32),
    }
    samples, latents = session.run(None, feed)
    assert np.abs(samples).max() > 0.1
    assert latents.shape[2] * HOP == samples.size
    assert np.abs(generator(torch.from_numpy(latents))[0].numpy() - samples.reshape(-1)).max() < 1e-4


def test_a_sample_depends_on_as_many_frames_as_the_stream_waits_for(generator, latents):
    changed = latents.clone()
    changed[..., 30] += 1
    heard = (generator(changed) - generator(latents))[0].nonzero()[:, 0]
    assert heard.min() // HOP == 30 - REACH
    assert heard.max() // HOP == 30 + REACH


@pytest.mark.parametrize("piece", [1, 10, 31, 60])
def test_latents_in_pieces_make_the_same_samples(generator, latents, piece):
    stream = VoiceStream(generator)
    samples = [stream.push(latents[..., at : at + piece]) for at in range(0, 60, piece)]
    whole = generator(latents)[0]
    assert torch.allclose(torch.cat([*samples, stream.finish()]), whole, atol=1e-5)


@pytest.mark.parametrize("length", [1, 14, 20, 113])
def test_streamed_speech_equals_that_of_the_whole_utterance(speaking, tokens, length):
    whole = speaking.speak(tokens[:length], steps=2)
    assert len(whole) == frames_of(length) * HOP
    stream = VocoderStream(speaking, steps=2)
    samples = [stream.push(tokens[at : at + 4]) for at in range(0, length - 3, 4)]
    samples.append(stream.push(tokens[length // 4 * 4 : length]))
    assert torch.allclose(torch.cat([*samples, stream.finish()]), whole, atol=1e-5)


def test_its_folder_holds_only_what_was_trained_and_is_read_back(speaking, voice, tokens, tmp_path):
    save(speaking, tmp_path)
    asked = []

    def locate(reference):
        asked.append(reference)
        return voice

    back = load(tmp_path, locate)
    assert asked == ["package:piper-joe"]
    assert torch.equal(back.speak(tokens[:20], steps=2), speaking.speak(tokens[:20], steps=2))
    trained = sum(tensor.numel() for tensor in speaking.flow.state_dict().values())
    assert (tmp_path / "model.safetensors").stat().st_size < 4.2 * trained + 20_000


def test_another_voice_is_refused(voice, tmp_path):
    other = VoiceGenerator(replace(SHAPE, sha256="0" * 64))
    with pytest.raises(SetupError, match=r"is not the voice package:piper-joe .* \(sha256 58afce0321b8"):
        other.read(voice)
    with pytest.raises(SetupError, match=r"exactly one \.onnx file of a piper voice"):
        other.read(tmp_path)


def test_a_single_voice_takes_no_speaker_and_no_prompt(speaking, tokens):
    for option in ({"speaker": [1.0] * 192}, {"prompt": (tokens[:5], torch.zeros(LATENTS, 10))}):
        with pytest.raises(ValueError, match="a single voice"):
            speaking.features(tokens, **option)
