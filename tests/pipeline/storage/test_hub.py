"""Data sets of a hub are listed by its API and read by range, over a real local socket."""

import pickle

import pytest

from pipeline.inputs.listing import list_inputs
from pipeline.storage.store import Store
from schemas.errors import SetupError
from tests.hub import TOKEN, serving

FILES = {
    "README.md": b"a card",
    "data/train-0.parquet": bytes(range(256)) * 10,
    "data/one.wav": b"1" * 500,
    "data/na\u00efve & two.wav": b"22",
    "data/one.srt": b"1\n",
    "other/x.wav": b"3",
}
DATASET = "hf://datasets/ann/calls"


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def hub(monkeypatch):
    with serving(FILES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.mark.parametrize("revision", ["", "@refs/convert/parquet"])
@pytest.mark.parametrize("folder", ["", "/data"])
def test_files_are_listed_and_read(hub, revision, folder):
    if revision:
        revision = revision.replace("/", "%2F")
    store = Store(f"{DATASET}{revision}{folder}")
    below = f"{folder[1:]}/" if folder else ""
    expected = {path.removeprefix(below): data for path, data in FILES.items() if path.startswith(below)}
    found = {file.path: file for file in store.list()}
    assert found.keys() == expected.keys()
    for path, data in expected.items():
        assert store.get(path) == data
        assert store.head(path) == found[path]
        assert found[path].bytes == len(data)


def test_the_tag_is_the_hash_of_the_content(hub):
    first = {file.path: file.etag for file in Store(DATASET).list()}
    hub.files = FILES | {"other/x.wav": b"4"}
    second = {file.path: file.etag for file in Store(DATASET).list()}
    assert {path for path in first if first[path] != second[path]} == {"other/x.wav"}


def test_bytes_are_read_by_range(hub):
    with Store(DATASET).open("data/train-0.parquet") as file:
        file.seek(-10, 2)
        assert file.read() == bytes(range(246, 256))
    assert hub.ranges == ["bytes=2550-2559"]


def test_an_input_is_a_data_set_a_folder_or_a_file(hub):
    listing = list_inputs([f"{DATASET}/data"])
    assert [recording.id for recording in listing.recordings] == ["na\u00efve & two.wav", "one.wav"]
    assert [c.kind for c in listing.recordings[1].companions] == ["srt"]
    (alone,) = list_inputs([f"{DATASET}/other/x.wav"]).recordings
    assert alone.uri == f"{DATASET}/other/x.wav"


def test_what_is_missing_is_told(hub):
    with pytest.raises(FileNotFoundError):
        Store(DATASET).head("none.wav")
    assert list(Store(f"{DATASET}/none").list()) == []
    for wrong in ("hf://datasets/ann", "hf://datasets", "hf://models/ann/x"):
        with pytest.raises(SetupError, match="hf://datasets/OWNER/NAME"):
            list_inputs([wrong])
    with pytest.raises(SetupError, match=r"no data set ann/none with the revision main, or it is private"):
        list_inputs(["hf://datasets/ann/none"])


def test_a_hub_is_only_read(hub):
    with pytest.raises(SetupError, match=r"hf:// is only read: name a directory or a bucket"):
        Store(DATASET).check_writable()


def test_private_data_needs_a_token_that_nothing_shows(monkeypatch):
    with serving(FILES, private=True) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        store = Store(DATASET)
        with pytest.raises(SetupError, match="HF_TOKEN may read it"):
            list(store.list())
        with pytest.raises(SetupError, match="HF_TOKEN may read it"):
            store.get("README.md")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        again = Store(DATASET)
        assert again.get("README.md") == b"a card"
        assert len(list(again.list())) == len(FILES)
        assert TOKEN.encode() not in pickle.dumps(again)


def test_without_a_network_the_remedy_is_told(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="HF_HUB_OFFLINE is set"):
        list_inputs([DATASET])
