"""What a Whisper model hears in speech: its words, and no more of them than the speech has time for."""

import numpy as np
import pytest
import soundfile
from tokenizers import Tokenizer

from pipeline.models import resolve
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.trained.transcribing import SHORTEST, TOKENS_PER_SECOND, WhisperText
from tests.paths import RECORDINGS

MODEL = resolve("package:whisper-tiny-en").path


@pytest.fixture(scope="module")
def whisper() -> WhisperText:
    return WhisperText(MODEL)


@pytest.fixture(scope="module")
def sentence() -> Samples:
    path = RECORDINGS / "demo/monologues/1998-15444-0004.flac"
    return np.asarray(soundfile.read(path, dtype="float32")[0])


def test_the_text_of_states_is_that_of_the_sound(whisper: WhisperText, sentence: Samples):
    tokens, prompt = whisper.tokens(sentence)
    text = whisper.text(whisper.states(peak_normalised(sentence)), len(sentence) / SAMPLE_RATE)
    assert len(text.split()) > 8
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    assert tokenizer.decode(tokens[prompt:-1]).strip() == text


def test_a_text_stops_where_the_speech_has_no_time_for_more(whisper: WhisperText, sentence: Samples):
    states = whisper.states(sentence)
    whole = whisper.text(states, len(sentence) / SAMPLE_RATE)
    cut = whisper.text(states, 0.0)
    assert 1 < len(cut.split()) <= SHORTEST < len(whole.split())


def test_loud_noise_has_no_endless_text(whisper: WhisperText):
    noise = np.random.default_rng(0).uniform(-1, 1, 2 * SAMPLE_RATE).astype(np.float32)
    tokens, prompt = whisper.tokens(noise)
    assert len(tokens) - prompt <= 2 * TOKENS_PER_SECOND + SHORTEST + 1
