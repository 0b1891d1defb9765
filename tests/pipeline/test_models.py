"""Model references: how they resolve, and which files they accept."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from pipeline import models
from pipeline.commands.models import models as command
from pipeline.models import PACKAGED, is_reference, located, resolve
from schemas.errors import SetupError
from tests.paths import FIXTURES, ROOT

TALK = ROOT / "stages" / "train" / "talk"


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_every_packaged_model_is_installed_as_published(name):
    if PACKAGED[name].extra:
        pytest.importorskip(PACKAGED[name].package)
    if name == "talk" and not TALK.is_dir():
        pytest.skip("this build carries no talk model")
    model = resolve(f"package:{name}")
    assert model.path.exists()
    assert model.bytes > 30_000
    assert model.sha256 == PACKAGED[name].sha256


@pytest.fixture
def installed_copy(tmp_path, monkeypatch):
    """A copy of a packaged model that a test may change, with a cache of its own."""
    folder = tmp_path / "package"
    shutil.copytree(resolve("package:whisper-codebooks").path, folder / "codebooks")
    monkeypatch.setattr(models, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(models, "_package_folder", lambda *_: folder)
    return folder / "codebooks"


def change_a_byte(folder):
    file = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)


def test_a_packaged_model_with_a_changed_file_is_refused(installed_copy):
    assert resolve("package:whisper-codebooks").sha256 == PACKAGED["whisper-codebooks"].sha256
    change_a_byte(installed_copy)
    with pytest.raises(SetupError, match=r"not the published ones .* reinstall stages\.tokenize"):
        resolve("package:whisper-codebooks")


def test_a_changed_model_is_found_without_a_cached_hash(installed_copy):
    change_a_byte(installed_copy)
    with pytest.raises(SetupError, match="not the published ones"):
        resolve("package:whisper-codebooks")


def test_a_file_is_hashed_once_while_it_stays_the_same(installed_copy, monkeypatch):
    resolve("package:whisper-codebooks")
    monkeypatch.setattr(models.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    resolve("package:whisper-codebooks")


def test_a_cached_hash_that_is_cut_off_is_not_used(installed_copy):
    resolve("package:whisper-codebooks")
    for file in (models.CACHE / "hashes").iterdir():
        file.write_text("")
    assert resolve("package:whisper-codebooks").sha256 == PACKAGED["whisper-codebooks"].sha256


def test_a_model_of_a_missing_extra_names_the_extra(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"wetext, which is not installed: pip install 'aqaa-data\[itn\]'"):
        resolve("package:wetext")


def test_a_build_without_the_talk_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_package_folder", lambda *_: tmp_path)
    with pytest.raises(
        SetupError, match=r"this build of aqaa-data carries no talk model: train one .* docs/talk"
    ):
        resolve("package:talk")


def test_a_damaged_joined_copy_names_the_folder_to_delete(tmp_path, monkeypatch):
    monkeypatch.setitem(PACKAGED, "whisper-base", replace(PACKAGED["whisper-base"], sha256="0" * 64))
    with pytest.raises(SetupError, match=r"delete .*whisper-base-[0-9a-f]+ and reinstall"):
        resolve("package:whisper-base")


def test_the_two_parts_of_whisper_base_are_joined_into_the_published_file():
    import hashlib

    digest = hashlib.sha256((resolve("package:whisper-base").path / "model.bin").read_bytes()).hexdigest()
    assert digest.startswith("905e5bf8")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("package:whisper-bsae", "did you mean package:whisper-base"),
        ("package:zzz", "there are campplus"),
        ("whisper-base", "write package:NAME"),
        ("file:/no/such/model", "there is no /no/such/model"),
        ("hub:nobody/nothing", "aqaa-data models pull hub:nobody/nothing"),
        ("step-audio-tokenizer", "aqaa-data models pull hub:stepfun-ai/Step-Audio-Tokenizer"),
    ],
)
def test_an_unresolvable_reference_is_reported_with_a_remedy(reference, message):
    with pytest.raises(SetupError, match=message):
        resolve(reference)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No hub model on this machine and no way to the hub."""
    monkeypatch.setattr(models, "CACHE", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_pulling_without_a_network_names_the_alternative(empty_cache):
    with pytest.raises(SetupError, match=r"hub can't be reached .* name its directory: file:/PATH"):
        resolve("step-audio-tokenizer", pull=True)


@pytest.mark.parametrize("name", ["step-audio-chat", "step-audio-tts-3b", "step-audio-aqaa"])
def test_a_public_model_that_is_not_here_says_how_to_get_it(empty_cache, name):
    with pytest.raises(SetupError, match="not on this machine; download it with: aqaa-data models pull"):
        located(name)
    with pytest.raises(SetupError, match="hub can't be reached"):
        resolve(name, pull=True)


def test_a_checkpoint_is_a_folder_or_a_reference(tmp_path):
    assert located(str(tmp_path)) == located(f"file:{tmp_path}") == tmp_path
    assert located("package:talk-tokenizer") == resolve("package:talk-tokenizer").path
    assert not is_reference("runs/a")
    assert all(is_reference(name) for name in ("hub:a/b", "file:a", "package:talk", "step-audio-chat"))


def test_hub_models_with_a_short_name_are_listed_even_if_absent(empty_cache):
    result = CliRunner().invoke(command, ["list", "--json"])
    rows = {row["model"]: row for row in json.loads(result.stdout)["models"]}
    assert not rows["step-audio-tokenizer"]["present"]
    assert rows["package:silero-vad"]["present"]


def test_a_checkpoint_on_disk_is_a_reference():
    folder = FIXTURES / "step-audio-tokenizer-small"
    model = resolve(f"file:{folder}")
    assert model.path == folder
    assert model.bytes > 7_000_000
