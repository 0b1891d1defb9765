"""Training codes: batches depend on seed and step alone, noise changes little, reading is learnt."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models import resolve
from stages.tokenize.trained.batch import Batches, padded
from stages.tokenize.trained.changes import ChangeConfig, disturbed, mixed
from stages.tokenize.trained.fsq import FSQ
from stages.tokenize.trained.mel import WhisperMel
from stages.tokenize.trained.speech import SpeechFolder, SpokenText, joined_texts, write_speech
from stages.tokenize.trained.train import CodesTrainConfig, CodesTrainer, rate_at, unsteadiness
from stages.tokenize.trained.transcribing import WhisperText
from stages.tokenize.whisper_weights import read_whisper
from tests.paths import RECORDINGS

MODEL = "package:whisper-tiny-en"
SECONDS = 16_000


def said(*tokens: int, seconds: float = 1.0) -> SpokenText:
    """A text after a prompt of two tokens, before the end."""
    samples = np.random.default_rng(len(tokens)).standard_normal(int(seconds * SECONDS))
    return SpokenText(samples.astype(np.float32), (900, 901, *tokens, 999), 2)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> SpeechFolder:
    """Two recorded sentences with what the model hears in them."""
    folder = tmp_path_factory.mktemp("speech")
    utterances = [
        soundfile.read(RECORDINGS / "demo/monologues" / name, dtype="float32")[0]
        for name in ("1688-142285-0003.flac", "1998-15444-0004.flac")
    ]
    write_speech(folder, [*utterances, np.zeros(100, np.float32)], WhisperText(resolve(MODEL).path).tokens)
    return SpeechFolder(folder)


def test_speech_on_disk_has_its_words_and_leaves_out_what_is_too_short(speech: SpeechFolder):
    assert len(speech.seconds) == 2
    text = speech.read(0)
    assert len(text.samples) == pytest.approx(speech.seconds[0] * SECONDS)
    assert text.prompt == 2
    assert len(text.tokens) > 8


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 800))
def test_joined_texts_have_all_words_once_and_all_samples(sizes: list[int], pause: int):
    parts = [said(*range(size)) for size in sizes]
    joined = joined_texts(parts, [pause] * (len(parts) - 1))
    assert joined.tokens == (900, 901, *(token for size in sizes for token in range(size)), 999)
    assert len(joined.samples) == sum(len(part.samples) for part in parts) + pause * (len(parts) - 1)


def test_prompt_and_padding_are_not_to_be_predicted():
    tokens_BN, said_BN = padded([said(1, 2, 3), said(4)])
    assert tokens_BN.tolist() == [[900, 901, 1, 2, 3, 999], [900, 901, 4, 999, 999, 999]]
    assert said_BN.tolist() == [
        [False, False, True, True, True, True],
        [False, False, True, True, False, False],
    ]


def test_a_batch_depends_on_seed_and_step_alone(speech: SpeechFolder):
    mel = WhisperMel(80)
    whole = Batches(speech, mel, 2.0, seed=3).after(0)
    [_, _, third] = [next(whole) for _ in range(3)]
    later = next(Batches(speech, mel, 2.0, seed=3).after(2))
    for name in ("clean_BMF", "disturbed_BMF", "tokens_BN", "pitch_BS"):
        assert torch.equal(getattr(third, name), getattr(later, name))
    other = next(Batches(speech, mel, 2.0, seed=4).after(2))
    assert not torch.equal(third.disturbed_BMF, other.disturbed_BMF[:, :, : third.disturbed_BMF.shape[2]])


@pytest.mark.parametrize("ratio_db", [0.0, 20.0])
def test_noise_is_mixed_at_the_ratio_of_powers(ratio_db: float):
    generator = np.random.default_rng(0)
    speech, noise = (generator.standard_normal(SECONDS).astype(np.float32) * gain for gain in (0.3, 0.01))
    added = mixed(speech, noise, ratio_db) - speech
    assert 10 * np.log10((speech**2).mean() / (added**2).mean()) == pytest.approx(ratio_db, abs=0.1)


def test_disturbed_speech_keeps_its_length():
    samples = said(1, seconds=1.3).samples
    config = ChangeConfig(noise=1, room=1, channel=1)
    changed = disturbed(samples, samples[:100], np.random.default_rng(0), config)
    assert changed.shape == samples.shape
    assert np.isfinite(changed).all()


def test_vectors_on_the_grid_are_steady_and_those_between_are_not():
    grid = FSQ((5, 5))
    on = torch.zeros(1, 2)
    between = torch.full((1, 2), 0.25)
    assert float(unsteadiness(grid, on, on)) < 1e-6
    assert float(unsteadiness(grid, between, on)) > float(unsteadiness(grid, on, on))


def test_the_rate_rises_stays_and_falls_to_nothing():
    config = CodesTrainConfig(steps=100, warmup=10, decay=0.2)
    rates = [rate_at(step, config) for step in range(101)]
    assert rates[0] == 0.1
    assert set(rates[9:81]) == {1.0}
    assert rates[100] == 0


@pytest.mark.slow
def test_codes_of_learnt_sentences_can_be_read(speech: SpeechFolder, tmp_path: Path):
    config = CodesTrainConfig(
        steps=150, batch_seconds=8.0, warmup=20, states_only=30, rounded_from=60, learning_rate=1e-3
    )
    torch.set_num_threads(1)
    trainer = CodesTrainer(read_whisper(resolve(MODEL).path), speech, config, tmp_path)
    lines: list[str] = []
    trainer.train(lines.append)
    found = int(lines[-1].split("%")[0].split()[-1])
    assert found > 60
