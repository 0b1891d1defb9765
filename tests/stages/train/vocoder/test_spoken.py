"""The packaged voice speaks a few words, and a small network learns their latents."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from pipeline.models import resolve
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.phonemes import phonemes_of
from stages.train.vocoder.shape import HOP, LATENTS, PRESETS, VocoderShape, frames_of
from stages.train.vocoder.spoken import SpokenSentences, speak_sentences, speech_of, with_pauses
from stages.train.vocoder.train import train_vocoder
from stages.train.vocoder.vocoder import load
from stages.train.vocoder.voice_generator import VoiceGenerator
from tests.stages.train.vocoder.small_shapes import LITTLE_VOICE

SENTENCES = ["Three plus four is seven.", "Good morning.", "No."]
SHAPE = PRESETS["voice"].wave


@pytest.fixture(scope="module")
def voice():
    return resolve(SHAPE.voice).path


def encode(batch):
    """As many numbers as a tokenizer makes, all different; those of copies too."""
    starts = [int(1000 * np.abs(samples).sum()) for samples in batch]
    return [
        ((start + np.arange(len(samples) // 1920 * 5)) % 5120).astype(np.int32)
        for start, samples in zip(starts, batch, strict=True)
    ]


@pytest.fixture(scope="module")
def folder(voice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    speak_sentences(SENTENCES, voice, SHAPE, encode, folder, seed=0)
    return folder


def test_text_becomes_phonemes_with_its_punctuation():
    assert phonemes_of(["Well, is it?", "No."], "en-us") == ["wˈɛl, ɪz ɪt?", "nˈoʊ."]


def test_each_sentence_is_there_as_it_is_and_changed_for_the_same_latents(folder):
    speech = SpokenSentences(folder, held_out=False)
    assert len(speech) == 2 * len(SENTENCES)
    assert not len(SpokenSentences(folder, held_out=True)), "only one of 200 is held out"
    plain, changed = speech.read(0), speech.read(1)
    assert np.array_equal(plain.latents, changed.latents)
    assert len(plain.tokens) == len(changed.tokens)
    assert not np.array_equal(plain.tokens, changed.tokens)
    assert plain.features().shape == (LATENTS, frames_of(len(plain.tokens)))


def test_a_stopped_run_goes_on_where_it_stopped(folder, voice, tmp_path):
    def stop(number):
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speak_sentences(SENTENCES, voice, SHAPE, encode, tmp_path, 0, stop)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(before) == 2
    speak_sentences(SENTENCES, voice, SHAPE, encode, tmp_path, 0)
    after = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert sorted(after) == sorted(file.name for file in folder.iterdir())
    assert before.items() <= after.items()


def test_pauses_are_silent(folder, voice):
    generator = VoiceGenerator(SHAPE).eval().requires_grad_(False)
    generator.read(voice)
    latents = SpokenSentences(folder, held_out=False).read(0).latents.astype(np.float32)
    draw = np.random.default_rng(3)
    longer = with_pauses(latents, generator, draw)
    added = longer.shape[1] - latents.shape[1]
    assert added > 0
    samples = generator(torch.from_numpy(longer)[None])[0].numpy().reshape(-1, HOP)
    loud = np.abs(samples).max(1) > 0.01
    spoken = np.abs(generator(torch.from_numpy(latents)[None])[0].numpy().reshape(-1, HOP)).max(1) > 0.01
    assert abs(int(loud.sum()) - int(spoken.sum())) <= 2
    assert len(speech_of(longer, generator)) == pytest.approx(longer.shape[1] * HOP * 16 / 22.05, abs=2)


def test_a_vocoder_learns_them_and_speaks_with_the_voice(folder, voice, monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "voice", VocoderShape(replace(LITTLE_VOICE, channels=(96,)), SHAPE))
    config = VocoderTrainConfig(
        preset="voice",
        sentences="-",
        steps=60,
        global_batch_size=4,
        blocks=3,
        samples=1,
        learning_rate=1e-2,
    )
    speech, lines = SpokenSentences(folder, held_out=False), []
    finished = train_vocoder(
        config, speech, speech, {}, tmp_path, lines.append, voice=voice, factors=(8, 4, 128)
    )
    losses = [line["prior"] for line in lines]
    assert sum(losses[-12:]) < 0.85 * sum(losses[:12])
    assert {"mel", "spectrum"}.isdisjoint(lines[0]), "its generator is not trained"
    vocoder = load(finished, lambda reference: voice)
    assert vocoder.flow.shape.factors == (8, 4, 128)
    scales = vocoder.flow.scales
    assert 0.1 < scales.min() < scales.max() < 10, "of the latents that were learnt"
    names = sorted(file.name for file in (tmp_path / "samples/00000060").iterdir())
    assert [name.split(".", 1)[1] for name in names] == ["latents.wav", "wav"]
    assert soundfile.info(tmp_path / "samples/00000060" / names[1]).duration > 0.5
