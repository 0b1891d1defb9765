"""Whisper's weights in torch give what CTranslate2 gives."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pipeline.models import resolve
from schemas.errors import SetupError
from stages.tokenize.trained.layers import LowerEncoder, depth, load_norm
from stages.tokenize.trained.mel import WhisperMel
from stages.tokenize.whisper_weights import read_whisper
from tests.paths import RECORDINGS

MODEL = "package:whisper-tiny-en"


def test_the_encoder_in_torch_gives_the_states_of_ctranslate2():
    import ctranslate2
    from faster_whisper.feature_extractor import FeatureExtractor

    path = resolve(MODEL).path
    samples, _ = soundfile.read(RECORDINGS / "demo/monologues/1688-142285-0003.flac", dtype="float32")
    samples = samples[: len(samples) // 320 * 320]
    mel = FeatureExtractor(feature_size=80)(samples, padding=0)[None].astype(np.float32)
    own_mel = WhisperMel(80)(torch.from_numpy(samples)[None])
    np.testing.assert_allclose(own_mel, mel, atol=1e-3)

    model = ctranslate2.models.Whisper(str(path), compute_type="float32")
    expected = np.array(model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True))
    weights = read_whisper(path)
    encoder = LowerEncoder(weights, depth(weights, "encoder"))
    norm = torch.nn.LayerNorm(expected.shape[-1])
    load_norm(norm, weights, "encoder")
    with torch.no_grad():
        states = norm(encoder(torch.from_numpy(mel))).numpy()
    np.testing.assert_allclose(states, expected, atol=0.01)


@pytest.mark.parametrize("kept", [0, 3, 200, 100_000])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path):
    content = (resolve(MODEL).path / "model.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(content[:kept])
    with pytest.raises(SetupError, match="damaged or not a model in CTranslate2 format"):
        read_whisper(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(SetupError, match="can't be read"):
        read_whisper(tmp_path)
