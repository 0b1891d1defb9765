"""`aqaa-data codebooks fit --method trained`: codes that keep the words, from recordings."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.codebooks.card import FitReport
from pipeline.codebooks.train import WORK, train
from pipeline.inference.tokenize_files import tokenize_files
from pipeline.models import resolve
from schemas.errors import SetupError
from stages.tokenize.trained.checkpoint import load
from stages.tokenize.trained.train import CodesTrainConfig
from tests.paths import RECORDINGS

INPUTS = [str(RECORDINGS / "demo/monologues"), str(RECORDINGS / "bad/random.wav")]
HELD = [str(RECORDINGS / "demo/conversations/ami_trn09.flac")]
SHORT = CodesTrainConfig(steps=3, batch_seconds=4.0, states_only=1, rounded_from=2, checkpoint_steps=1)
MODEL = "package:whisper-tiny-en"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return train(INPUTS, tmp_path_factory.mktemp("trained") / "codes", MODEL, SHORT, held=HELD)


def test_the_folder_holds_codes_a_reader_and_a_card(report: FitReport):
    names = sorted(path.name for path in report.out.iterdir())
    assert names == ["README.md", "codes.json", "quantizer.safetensors", "reader.safetensors"]
    card = (report.out / "README.md").read_text()
    assert "Demonstration only" in card
    assert "| CC-BY-4.0 |" in card
    assert "`random.wav`" in card


def test_the_shape_is_that_of_the_model(report: FitReport):
    codes = load(report.out, reader=True)
    assert (codes.shape.width, codes.shape.heads) == (384, 6)
    assert codes.shape.lower_layers + codes.shape.reader_layers == 4


def test_use_is_reported_for_the_speech_trained_on_and_held_out(report: FitReport):
    assert report.model_sha256 == resolve(MODEL).sha256
    assert report.held is not None
    for use in (report.fitted, report.held):
        assert use.semantic.codes == pytest.approx(25 * use.data.speech_seconds, rel=0.02)


def test_a_build_with_another_model_is_refused(report: FitReport):
    recording = next((RECORDINGS / "demo/monologues").glob("*.flac"))
    with pytest.raises(SetupError, match="trained for another model"):
        next(tokenize_files([str(recording)], f"file:{report.out}"))


def test_a_stopped_training_goes_on_and_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class StoppedError(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("step"):
            raise StoppedError

    monkeypatch.setattr("stages.tokenize.trained.train.EVERY", 3)
    config = replace(SHORT, states_only=0, rounded_from=1, checkpoint_steps=2)
    with pytest.raises(StoppedError):
        train(HELD, tmp_path / "out", MODEL, config, progress=stop)
    assert (tmp_path / "out" / WORK / "checkpoint.pt").exists()
    with pytest.raises(SetupError, match="other inputs or settings"):
        train(INPUTS, tmp_path / "out", MODEL, config)
    lines: list[str] = []
    train(HELD, tmp_path / "out", MODEL, config, progress=lines.append)
    assert "of the text's tokens read from codes" in lines[-1]
    assert not (tmp_path / "out" / WORK).exists()
    with pytest.raises(SetupError, match="already has codebooks"):
        train(HELD, tmp_path / "out", MODEL, config)


def test_speech_without_words_is_refused(tmp_path: Path):
    with pytest.raises(SetupError, match="nothing to learn from"):
        train([str(RECORDINGS / "bad/random.wav")], tmp_path / "out", MODEL, SHORT)


def test_the_result_says_what_it_is_made_of(report: FitReport):
    printed = report.as_json()
    assert printed["config"]["steps"] == 3
    assert isinstance(printed["fitted"]["linguistic"]["perplexity"], float)
