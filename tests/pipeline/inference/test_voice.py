"""`--voice`, the vocoder that sings, and what a released one is checked for, with narrow random networks."""

import shutil
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper, save
from torchaudio.compliance import kaldi

from pipeline.inference.answer_vocoder import AudioChunk, is_sung, open_answer_vocoder
from pipeline.inference.voice import open_voice
from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.layout import merged
from schemas.recording import Codes
from stages.decode.config import DecodeConfig
from stages.decode.whole import read_whole
from stages.tokenize.resample import to_16k
from stages.train.sampling import Answer, CodeGroup, TextPiece
from stages.train.vocoder import released
from stages.train.vocoder.shape import frames_of
from stages.train.vocoder.vocoder import Vocoder
from stages.train.vocoder.voice_prompt import VoicePrompt
from tests.pipeline.tiny_models import SHORT
from tests.stages.train.vocoder.test_released import NARROW, weight_normalised

MODELS = {"package:x": "0" * 64}
CODES = Codes(tuple(range(16)), tuple(range(100, 124)))
GROUP = Codes((3, 1), (4, 1, 5))


class Tokenizing:
    """Gives prepared codes."""

    linguistic_size, semantic_size, semantic_factors = 1024, 4096, ()

    def __init__(self):
        self.heard = []

    def encode(self, batch):
        self.heard += batch
        return [CODES] * len(batch)


def write_released(folder, seed):
    torch.manual_seed(seed)
    vocoder = Vocoder.of(NARROW).eval()
    folder.mkdir()
    torch.save(vocoder.flow.state_dict(), folder / "flow.pt")
    torch.save(weight_normalised(vocoder.wave.state_dict()), folder / "hift.pt")


def write_network(file, weights):
    """Bands [1, T, 80] -> their maximum over time, times the weights."""
    nodes = [
        helper.make_node("ReduceMax", ["feats"], ["highest"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["highest", "weights"], ["vector"]),
    ]
    feats = helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, None, 80])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, weights.shape[1]])
    graph = helper.make_graph(nodes, "g", [feats], [vector], [numpy_helper.from_array(weights, "weights")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))


WEIGHTS = np.random.default_rng(0).normal(size=(80, 192)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A released vocoder with the one that sings beside it."""
    monkeypatch.setattr(released, "load_released", partial(released.load_released, shape=NARROW))
    write_released(tmp_path / "CosyVoice", 0)
    write_released(tmp_path / "CosyVoice-Music", 1)
    write_network(tmp_path / "CosyVoice" / "campplus.onnx", WEIGHTS)
    return tmp_path / "CosyVoice"


@pytest.fixture
def recording(tmp_path):
    return shutil.copy(SHORT, tmp_path / "prompt.wav")


def same(one, other):
    arrays = zip(vars(one).values(), vars(other).values(), strict=True)
    return one.source == other.source and all(np.array_equal(a, b) for a, b in list(arrays)[:3])


def test_a_voice_is_made_once_and_kept(folder, recording):
    tokenizer = Tokenizing()
    voice = open_voice(recording, folder, tokenizer, MODELS)
    samples, rate = read_whole(recording, DecodeConfig())
    assert voice.tokens.tolist() == merged(CODES).tolist()
    assert voice.mel_MT.shape == (80, round(len(samples) * 22_050 / rate) // 256)
    wave = torch.from_numpy(to_16k(samples, rate))[None]
    bands = kaldi.fbank(wave, num_mel_bins=80, dither=0, sample_frequency=16_000).numpy()
    assert np.allclose(voice.speaker, (bands - bands.mean(0)).max(0) @ WEIGHTS, atol=1e-3)

    kept = recording.with_name("prompt.wav.voice.npz")
    for file in (recording, kept):
        assert same(open_voice(file, folder, tokenizer, MODELS), voice)
    assert len(tokenizer.heard) == 1
    open_voice(recording, folder, tokenizer, {"package:y": "1" * 64})
    write_network(folder / "campplus.onnx", WEIGHTS * 2)
    assert np.allclose(open_voice(recording, folder, tokenizer, MODELS).speaker, 2 * voice.speaker)
    assert len(tokenizer.heard) == 3


def test_what_is_no_voice_is_refused(folder, recording, tmp_path):
    open_voice(recording, folder, Tokenizing(), MODELS)
    kept = recording.with_name("prompt.wav.voice.npz")
    broken, short = tmp_path / "broken.voice.npz", tmp_path / "short.wav"
    broken.write_bytes(kept.read_bytes()[:100])
    soundfile.write(short, np.sin(np.arange(8000)), 16_000)
    write_network(tmp_path / "campplus.onnx", WEIGHTS[:, :5])
    recorded = tmp_path / "other.wav"
    shutil.copy(SHORT, recorded)
    for file, vocoder, models, message in [
        (kept, folder, {"package:y": "1" * 64}, "has the codes of another tokenizer"),
        (broken, folder, MODELS, "can't be read as a voice"),
        (tmp_path / "none.wav", folder, MODELS, "none.wav does not exist"),
        (short, folder, MODELS, r"lasts 0.5 s: a voice needs 1 to 30 s"),
        (recorded, tmp_path, MODELS, "gives 5 numbers, not the 192"),
        (recorded, folder.with_name("CosyVoice-Music"), MODELS, r"campplus\.onnx does not exist"),
    ]:
        with pytest.raises(SetupError, match=message):
            open_voice(file, vocoder, Tokenizing(), models)


def spoken(vocoder, text, asked="", groups=10):
    events = [TextPiece(text), *[CodeGroup(GROUP, 0)] * groups, Answer(np.zeros(0), text, (GROUP,), "end")]
    chunks = [
        event.samples for event in vocoder.speak(iter(events), 0, asked) if isinstance(event, AudioChunk)
    ]
    return np.concatenate(chunks)


def test_an_answer_has_the_voice(folder, recording):
    plain = open_answer_vocoder(folder, voiced=True)
    voiced = plain.with_voice(recording, Tokenizing(), MODELS)
    own, other = spoken(plain, "Hello"), spoken(voiced, "Hello")
    assert len(own) == len(other) == frames_of(50) * 256
    assert not np.allclose(own, other, atol=1e-3)
    voice = VoicePrompt.load(recording.with_name("prompt.wav.voice.npz"))
    expected = plain.vocoder.speak(
        merged(GROUP).tolist() * 10,
        prompt=(voice.tokens.tolist(), torch.from_numpy(voice.mel_MT)),
        speaker=voice.speaker.tolist(),
    )
    assert np.array_equal(other, expected.numpy())


def test_what_is_tagged_as_singing_is_sung(folder):
    vocoder = open_answer_vocoder(folder)
    singing = vocoder.singing.speak(merged(GROUP).tolist() * 10).numpy()
    assert np.array_equal(spoken(vocoder, "(RAP) Yo"), singing)
    assert np.array_equal(spoken(vocoder, "La", asked="（哼唱）La"), singing)
    assert not np.allclose(spoken(vocoder, "(RAPID) Yo"), singing, atol=1e-3)
    assert [is_sung(text) for text in (" (RAP)x", "x (RAP)", "(高兴1)x", "RAP")] == [
        True,
        False,
        False,
        False,
    ]
    shutil.rmtree(folder.with_name("CosyVoice-Music"))
    assert open_answer_vocoder(folder).singing is None


def test_a_released_vocoder_fits_the_sizes_of_the_tokenizer(folder):
    vocoder = open_answer_vocoder(folder)
    vocoder.check(MODELS, Tokenizing())
    smaller = SimpleNamespace(linguistic_size=1024, semantic_size=2048)
    with pytest.raises(
        SetupError, match="codebooks of 1024 and 4096, but the tokenizer's have 1024 and 2048"
    ):
        vocoder.check(MODELS, smaller)


def test_a_vocoder_with_a_voice_of_its_own_takes_none(command, tiny_checkpoint, vocoder, recording):
    ask = ("answer", "--checkpoint", tiny_checkpoint, SHORT, "--voice", recording)
    done = command(*ask, "-o", recording.with_name("a.wav"), "--vocoder", vocoder)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert f"{vocoder} takes no voice, since it has its own" in done.stderr
    unheard = command(*ask, "--text")
    assert (unheard.code, "--voice apply to audio" in unheard.stderr) == (2, True)


def test_answer_makes_the_voice_with_the_tokenizer_of_the_checkpoint(
    command, tiny_checkpoint, folder, recording
):
    out = recording.with_name("a.wav")
    ask = ("answer", "--checkpoint", tiny_checkpoint, SHORT, "-o", out, "--max-tokens", 40)
    done = command(*ask, "--vocoder", folder, "--voice", recording)
    assert done.code == 0, done.stderr
    assert len(soundfile.read(out)[0]) > 0
    kept = VoicePrompt.load(recording.with_name("prompt.wav.voice.npz"))
    assert kept.source.models == {name: resolve(name).sha256 for name in kept.source.models}
