"""Model references."""

import json

import pytest
from click.testing import CliRunner

from pipeline import models
from pipeline.commands.models import models as command
from pipeline.models import PACKAGED, resolve
from schemas.errors import SetupError
from tests.paths import FIXTURES


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_every_packaged_model_is_installed_and_hashed(name):
    model = resolve(f"package:{name}")
    assert model.path.exists()
    assert model.bytes > 100_000
    assert len(model.sha256) == 64


def test_the_two_parts_of_whisper_base_are_joined_into_what_was_published():
    import hashlib

    digest = hashlib.sha256((resolve("package:whisper-base").path / "model.bin").read_bytes()).hexdigest()
    assert digest.startswith("905e5bf8")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("package:whisper-bsae", "did you mean package:whisper-base"),
        ("package:zzz", "there are campplus"),
        ("whisper-base", "write package:NAME"),
        ("file:/no/such/model", "there is no /no/such/model"),
        ("hub:nobody/nothing", "aqaa-data models pull hub:nobody/nothing"),
        ("step-audio-tokenizer", "aqaa-data models pull hub:stepfun-ai/Step-Audio-Tokenizer"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_what_to_do(reference, told):
    with pytest.raises(SetupError, match=told):
        resolve(reference)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No hub model on this machine and no way to the hub."""
    monkeypatch.setattr(models, "CACHE", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_pulling_a_known_model_without_a_network_says_what_else_to_do(empty_cache):
    with pytest.raises(SetupError, match=r"hub can't be reached .* name its directory: file:/PATH"):
        resolve("step-audio-tokenizer", pull=True)


def test_known_hub_models_are_listed_whether_here_or_not(empty_cache):
    told = CliRunner().invoke(command, ["list", "--json"])
    rows = {row["model"]: row for row in json.loads(told.stdout)["models"]}
    assert not rows["step-audio-tokenizer"]["present"]
    assert rows["package:silero-vad"]["present"]


def test_the_checkpoint_on_disk_is_a_reference():
    folder = FIXTURES / "step-audio-tokenizer-small"
    model = resolve(f"file:{folder}")
    assert model.path == folder
    assert model.bytes > 7_000_000
