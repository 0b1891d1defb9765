"""Storage: atomic, create-only, and clear about trouble."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.storage import Store, normal, split
from schemas.errors import SetupError


def test_the_first_writer_wins_and_the_others_are_told(tmp_path):
    store = Store(str(tmp_path / "new"))
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.put_new("a/b", b"%d" % n), range(32)))
    assert sum(won) == 1
    assert store.get("a/b") == b"%d" % won.index(True)


def test_reading_makes_no_directories(tmp_path):
    store = Store(str(tmp_path / "new"))
    assert list(store.list()) == []
    assert not store.exists("x")
    with pytest.raises(FileNotFoundError):
        store.get("x")
    assert not (tmp_path / "new").exists()


def test_a_copy_moves_no_bytes_and_overwrites_nothing(tmp_path):
    store = Store(str(tmp_path))
    store.put_new("a", b"1")
    store.put_new("c", b"2")
    assert store.copy_new("a", "b/a")
    assert not store.copy_new("a", "c")
    assert store.get("c") == b"2"
    assert (tmp_path / "a").samefile(tmp_path / "b/a")


def test_names_of_any_script_are_found_again(tmp_path):
    name = "naïve %20#name – 语音 (1).wav"
    (tmp_path / name).write_bytes(b"x")
    (found,) = Store(str(tmp_path)).list()
    assert found.path == name
    store, last = split(Store(str(tmp_path)).join(name))
    assert last == name
    with store.local(last) as path:
        assert path.read_bytes() == b"x"


def test_a_tag_stays_with_an_unchanged_file_and_goes_with_its_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    store = Store(str(tmp_path))
    before = store.head("a").etag
    assert store.head("a").etag == before
    path.write_bytes(b"22")
    assert store.head("a").etag != before


def test_a_place_that_is_no_directory_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="can't use"):
        Store(str(tmp_path / "file" / "sub")).check_writable()
    with pytest.raises(SetupError, match="storage is a path"):
        normal("ftp://host/x")


def test_a_store_travels_to_workers(tmp_path):
    store = Store(str(tmp_path))
    store.put_new("a", b"1")
    assert pickle.loads(pickle.dumps(store)).get("a") == b"1"
