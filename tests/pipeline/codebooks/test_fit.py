"""`aqaa-data codebooks fit`: fits codebooks to recordings and writes a card."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.codebooks.card import FitReport
from pipeline.codebooks.fit import fit
from pipeline.commands.codebooks import codebooks
from pipeline.models import resolve
from schemas.errors import SetupError
from stages.tokenize.codebooks import Codebooks
from stages.tokenize.fit import FitConfig
from tests.paths import RECORDINGS

INPUTS = [str(RECORDINGS / "demo/monologues"), str(RECORDINGS / "bad/random.wav")]
HELD = [str(RECORDINGS / "demo/conversations/ami_trn09.flac")]
SMALL = FitConfig(
    linguistic_size=64, semantic_size=256, linguistic_dimensions=32, state_dimensions=32, epochs=3
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    out = tmp_path_factory.mktemp("fitted") / "codebooks"
    return fit(INPUTS, out, "package:whisper-tiny-en", SMALL, held=HELD)


def test_codebooks_fit_the_model_they_were_made_for(report: FitReport):
    fitted = Codebooks.load(report.out)
    assert (fitted.linguistic.size, fitted.semantic.size, fitted.linguistic.width) == (64, 256, 384)
    assert report.model_sha256 == resolve("package:whisper-tiny-en").sha256


def test_a_bad_recording_is_named_and_left_out(report: FitReport):
    assert list(report.fitted.data.refused) == ["random.wav"]
    assert report.fitted.data.recordings == len(list((RECORDINGS / "demo/monologues").glob("*.json")))


def test_use_is_reported_for_the_speech_fitted_to_and_held_out(report: FitReport):
    assert report.fitted.semantic.share == 1.0
    assert report.fitted.semantic.codes == pytest.approx(25 * report.fitted.data.speech_seconds, rel=0.01)
    assert report.held is not None
    assert report.held.data.recordings == 1
    assert 1 < report.held.linguistic.perplexity < 64


def test_the_card_names_the_licences_and_warns_of_little_speech(report: FitReport):
    card = (report.out / "README.md").read_text()
    assert "Demonstration only" in card
    assert "| CC-BY-4.0 |" in card
    assert "`random.wav`" in card
    assert str(Path.home()) not in card


def test_only_the_codebooks_and_the_card_are_written(report: FitReport):
    assert sorted(p.name for p in report.out.iterdir()) == ["README.md", "codebooks.npz"]


def test_codebooks_are_never_written_over(report: FitReport):
    with pytest.raises(SetupError, match="already has codebooks"):
        fit(INPUTS, report.out, "package:whisper-tiny-en", SMALL)


def test_a_recording_cannot_be_both_fitted_to_and_held_out(tmp_path: Path):
    with pytest.raises(SetupError, match="both held out and among"):
        fit(HELD, tmp_path / "out", "package:whisper-tiny-en", SMALL, held=HELD)


def test_the_command_refuses_too_little_speech(tmp_path: Path):
    arguments = [
        "fit",
        "--input",
        HELD[0],
        "--out",
        str(tmp_path / "out"),
        "--model",
        "package:whisper-tiny-en",
        "--method",
        "kmeans",
    ]
    result = CliRunner().invoke(codebooks, arguments)
    assert isinstance(result.exception, SetupError)
    assert "too little speech" in str(result.exception)


def test_the_command_takes_inputs_and_model_from_a_recipe(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: x\ninputs: {HELD[0]}\ntokenize: {{model: package:whisper-tiny-en}}\n")
    result = CliRunner().invoke(
        codebooks, ["fit", "--method", "kmeans", "--recipe", str(recipe), "--out", str(tmp_path / "out")]
    )
    assert "too little speech" in str(result.exception)


def test_the_command_requires_recordings(tmp_path: Path):
    result = CliRunner().invoke(codebooks, ["fit", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "--input" in result.output


@pytest.mark.slow
def test_the_command_prints_one_object(tmp_path: Path):
    arguments = [
        "fit",
        "--out",
        str(tmp_path / "out"),
        "--model",
        "package:whisper-tiny-en",
        "--json",
        "--method",
        "kmeans",
    ]
    arguments += ["--input", str(RECORDINGS / "demo")]
    result = CliRunner().invoke(codebooks, arguments)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["fitted"]["semantic"]["codes"] > 4096
    assert set(printed["fitted"]["data"]["refused"]) == {"broken/html_error.flac", "broken/truncated.flac"}
