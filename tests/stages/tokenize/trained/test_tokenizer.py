"""Trained codes: factors of semantic codes, saving and loading, and the reader's states."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.recording import Codes
from stages.tokenize.trained.checkpoint import FILE, QUANTIZER, READER, TrainedCodes, load
from stages.tokenize.trained.layers import Weights
from stages.tokenize.trained.prosody import energy_levels, pitch_levels
from stages.tokenize.trained.quantizer import CodesShape, Quantizer, StateReader
from stages.tokenize.trained.reading import CodeReader
from stages.tokenize.trained.tokenizer import SemanticFactors, TrainedTokenizer
from stages.tokenize.whisper_weights import read_whisper, weights_sha256
from tests.paths import RECORDINGS

MODEL = "package:whisper-tiny-en"


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read_whisper(resolve(MODEL).path)


@pytest.fixture(scope="module")
def codes(weights: Weights) -> TrainedCodes:
    """Random networks."""
    shape = CodesShape.of_model(weights)
    torch.manual_seed(0)
    parts = Quantizer(shape).eval().requires_grad_(False), StateReader(shape).eval().requires_grad_(False)
    return TrainedCodes(shape, weights_sha256(resolve(MODEL).path), *parts)


@given(st.lists(st.integers(0, 4095)))
def test_a_semantic_code_is_pitch_energy_and_content(numbers: list[int]):
    all_codes = np.array(numbers, np.int64)
    factors = SemanticFactors.of(all_codes)
    assert factors.codes().tolist() == numbers
    assert all(
        0 <= part.min(initial=0) <= part.max(initial=0) < size
        for part, size in zip((factors.pitch, factors.energy, factors.content), (8, 4, 128), strict=True)
    )


def test_pitch_and_energy_of_speech_are_in_its_semantic_codes(codes: TrainedCodes, weights: Weights):
    samples, _ = soundfile.read(RECORDINGS / "demo/monologues/1688-142285-0003.flac", dtype="float32")
    samples = samples * np.float32(0.999 / np.abs(samples).max())
    [encoded] = TrainedTokenizer(weights, codes.model_sha256, codes).encode([samples])
    factors = SemanticFactors.of(np.array(encoded.semantic))
    np.testing.assert_array_equal(factors.pitch, pitch_levels(samples))
    np.testing.assert_array_equal(factors.energy, energy_levels(samples))


def test_a_saved_folder_loads_as_the_same_networks(codes: TrainedCodes, tmp_path: Path):
    codes.save(tmp_path)
    loaded = load(tmp_path, reader=True)
    assert loaded.shape == codes.shape
    assert loaded.reader is not None
    assert codes.reader is not None
    for own, other in ((codes.quantizer, loaded.quantizer), (codes.reader, loaded.reader)):
        for name, tensor in own.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], tensor.half().float())
    assert load(tmp_path).reader is None


@pytest.mark.parametrize("name", [FILE, QUANTIZER, READER])
def test_a_damaged_or_missing_file_is_named(codes: TrainedCodes, tmp_path: Path, name: str):
    codes.save(tmp_path)
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(SetupError, match=name):
        load(tmp_path, reader=True)
    (tmp_path / name).unlink()
    with pytest.raises(SetupError, match=name):
        load(tmp_path, reader=True)


def test_codes_for_another_model_are_refused(codes: TrainedCodes, weights: Weights):
    with pytest.raises(SetupError, match="trained for another model"):
        TrainedTokenizer(weights, "0" * 64, codes)


def test_the_reader_sees_the_codebooks_that_are_kept(codes: TrainedCodes, weights: Weights):
    reader = CodeReader(resolve(MODEL).path, weights, codes)
    one, other = Codes((1, 2, 3, 4), (10, 20, 30, 40, 50, 60)), Codes((5, 6, 7, 8), (10, 20, 30, 40, 50, 60))
    assert reader.states(one).shape == (1, 12, codes.shape.width)
    assert not torch.equal(reader.states(one), reader.states(other))
    assert torch.equal(reader.states(one, (False, True)), reader.states(other, (False, True)))


def test_codes_without_a_reader_cannot_be_read(codes: TrainedCodes, weights: Weights):
    alone = TrainedCodes(codes.shape, codes.model_sha256, codes.quantizer, None)
    with pytest.raises(SetupError, match="no reader"):
        CodeReader(resolve(MODEL).path, weights, alone)
