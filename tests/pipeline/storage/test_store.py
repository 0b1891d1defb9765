"""Storage: atomic, create-only, streaming, with clear errors; the same on disk and on S3."""

import os
import pickle
import traceback
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.storage.connections import _RETRY
from pipeline.storage.store import Store, split
from pipeline.storage.uri import normalize_uri
from schemas.errors import SetupError, StoreUnreachableError
from tests.object_storage import KEY, READER, READER_SECRET, SECRET, Fault, first

NAMES = ["naïve %20#name?x=1 – 语音 (1).wav", "a%2Fb.wav", "deep/er/x.wav", "plus+and&.json"]


@pytest.fixture(params=["file", "s3"])
def store(request, tmp_path):
    if request.param == "file":
        return Store(str(tmp_path / "root"))
    return Store(f"{request.getfixturevalue('bucket')}/root")


@pytest.fixture
def behind(proxy, bucket):
    """A store whose requests go through the proxy."""
    return Store(f"{bucket}/root")


def paths(store, prefix=""):
    return sorted(found.path for found in store.list(prefix))


def test_of_many_writers_the_first_wins_and_the_others_get_false(store):
    with ThreadPoolExecutor(32) as pool:
        won = list(pool.map(lambda n: store.put_new("a/b", b"%d" % n), range(32)))
    assert sum(won) == 1
    assert store.get("a/b") == b"%d" % won.index(True)


def test_a_file_is_written_as_it_is_and_once(store, tmp_path):
    content = os.urandom(20_000_000)
    (tmp_path / "large").write_bytes(content)
    assert store.put_new("x", tmp_path / "large")
    assert not store.put_new("x", tmp_path / "large")
    assert store.get("x") == content
    assert store.head("x").bytes == len(content)


def test_a_large_file_is_uploaded_in_parts_and_once(behind, proxy, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.storage.store._ONE_REQUEST", 4_000_000)
    monkeypatch.setattr("pipeline.storage.store._PART", 5 * 1024 * 1024)
    content = np.random.default_rng(0).bytes(12_000_000)
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "other").write_bytes(content[::-1])
    assert behind.put_new("at", tmp_path / "large")
    assert len([path for method, path in proxy.seen if method == "PUT" and "partNumber" in path]) == 3
    assert not behind.put_new("at", tmp_path / "other")
    assert behind.get("at") == content


def test_missing_objects_are_not_errors_of_the_storage(store):
    store.put_new("y", b"1")
    assert not store.exists("x")
    for read in (store.get, store.head, lambda path: store.read(path, 0, 5)):
        with pytest.raises(FileNotFoundError):
            read("x")
    assert paths(store, "x") == []
    store.delete(["x", "y", "z"])
    assert paths(store) == []


def test_reading_makes_no_directories(tmp_path):
    store = Store(str(tmp_path / "new"))
    assert list(store.list()) == []
    assert not store.exists("x")
    assert not (tmp_path / "new").exists()


def test_a_range_is_read_and_a_file_seeks(store):
    store.put_new("x", bytes(range(256)) * 1000)
    assert store.read("x", 10, 14) == bytes([10, 11, 12, 13])
    assert store.read("x", 255_990, 300_000) == bytes(range(246, 256))
    assert store.read("x", 5, 5) == b""
    with store.open("x") as file:
        assert file.seek(-2, os.SEEK_END) == 255_998
        assert file.read() == bytes([254, 255])
        file.seek(100_000)
        assert file.read(3) == bytes([160, 161, 162])


def test_of_an_open_object_only_the_ranges_that_are_read_are_downloaded(behind, proxy):
    behind.put_new("x", b"0" * 3_000_000)
    proxy.seen.clear()
    with behind.open("x") as file:
        file.read(10)
        file.seek(2_000_000)
        file.read(10)
    assert [method for method, _ in proxy.seen] == ["HEAD", "GET", "GET"]
    assert proxy.sent < 300_000


def test_an_object_is_a_local_file_while_it_is_needed(store, tmp_path):
    content = os.urandom(10_000_000)
    store.put_new("a/x.wav", content)
    with store.local("a/x.wav", tmp_path) as path:
        assert path.name == "x.wav"
        assert path.read_bytes() == content
    assert path.exists() == store.is_local


def test_a_copy_overwrites_nothing(store):
    store.put_new("a", b"1")
    store.put_new("c", b"2")
    assert store.copy_new("a", "b/a")
    assert store.get("b/a") == b"1"
    assert not store.copy_new("a", "c")
    assert store.get("c") == b"2"


def test_a_copy_on_disk_is_a_link(tmp_path):
    store = Store(str(tmp_path))
    store.put_new("a", b"1")
    store.copy_new("a", "b/a")
    assert (tmp_path / "a").samefile(tmp_path / "b/a")


def test_put_replaces_an_object(store):
    store.put("x", b"1")
    before = store.head("x").etag
    assert store.head("x").etag == before
    store.put("x", b"22")
    assert store.get("x") == b"22"
    assert store.head("x").etag != before


def test_names_in_any_script_can_be_read_back(store):
    for name in NAMES:
        store.put_new(name, name.encode())
    assert paths(store) == sorted(NAMES)
    for name in NAMES:
        folder, last = split(store.join(name))
        assert folder.get(last) == name.encode()
        assert last == name.rpartition("/")[2]


def test_a_folder_of_any_name_is_a_root(store):
    inner = Store(store.join("odd #1 %41/in"))
    inner.put_new("x", b"1")
    assert paths(store) == ["odd #1 %41/in/x"]
    assert paths(inner) == ["x"]


def test_a_file_of_the_root_directory_is_local():
    folder, name = split("/nowhere.jsonl")
    assert (folder.uri, folder.directory, name) == ("file:///", Path("/"), "nowhere.jsonl")
    assert folder.join(name) == "file:///nowhere.jsonl"
    with pytest.raises(FileNotFoundError):
        folder.head(name)


def test_folders_are_listed_without_their_contents(store):
    for name in ("a/1", "a/2/3", "ab/1", "c"):
        store.put_new(name, b"")
    assert store.folders() == ["a", "ab"]
    assert store.folders("a") == ["2"]
    assert store.folders("none") == []
    assert paths(store, "a") == ["a/1", "a/2/3"]


def test_a_listing_is_requested_page_by_page(behind, proxy, bucket, s3, monkeypatch):
    straight = Store(f"{bucket}/root")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: straight.put_new(f"{n:05d}", b""), range(3500)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    proxy.seen.clear()
    assert [found.path for found in islice(behind.list(), 5)] == [f"{n:05d}" for n in range(5)]
    assert 1 <= len(proxy.seen) <= 3, "no more than a page or two ahead"
    tracemalloc.start()
    assert sum(1 for _ in behind.list()) == 3500
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
    # A page that breaks in its middle is asked for again, and nothing is lost or doubled.
    proxy.fault = first(2, Fault(reset="middle"), path="continuation-token")
    assert [found.path for found in behind.list()] == [f"{n:05d}" for n in range(3500)]
    proxy.fault = first(2, Fault(reset="middle"), "GET")
    assert [found.path for found in behind.list()] == [f"{n:05d}" for n in range(3500)]


FAULTS = [Fault(status=500), Fault(status=503), *(Fault(reset=at) for at in ("before", "after", "middle"))]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.status or fault.reset}")
def test_two_faults_in_a_row_are_retried(behind, proxy, tmp_path, fault):
    content = os.urandom(300_000)

    def work():
        yield behind.put_new("a", content)
        yield behind.get("a") == content
        yield behind.read("a", 7, 9) == content[7:9]
        yield behind.head("a").bytes == len(content)
        yield behind.copy_new("a", "b")
        yield behind.get("b") == content
        yield behind.put("c/d", b"1") is None
        yield behind.folders() == ["c"]
        yield paths(behind) == ["a", "b", "c/d"]
        with behind.local("a", tmp_path) as path:
            yield path.read_bytes() == content
        yield behind.delete(["a", "b", "c/d"]) is None
        yield paths(behind) == []

    steps = work()
    for number in range(12):
        if fault.reset == "after" and number == 4:  # the copy was made: what it was asked for is there
            proxy.fault = lambda method, path: None
        else:
            proxy.fault = first(2, fault)
        assert next(steps), f"step {number}"


def test_a_write_whose_answer_was_lost_is_recognized_as_our_own(behind, proxy, bucket):
    proxy.fault = first(1, Fault(reset="after"), "PUT")
    assert behind.put_new("x", b"mine")
    Store(bucket).put_new("root/y", b"other")
    proxy.fault = first(1, Fault(reset="after"), "PUT")
    assert not behind.put_new("y", b"mine")
    assert behind.get("y") == b"other"


def test_access_lost_during_a_run_names_the_bucket_and_what_to_do(behind, proxy):
    behind.put_new("x", b"1")
    proxy.fault = lambda method, path: Fault(status=403)
    bucket = behind.uri.split("/")[2]
    for use in (
        lambda: behind.get("x"),
        lambda: behind.put_new("y", b""),
        lambda: behind.copy_new("x", "y"),
        lambda: list(behind.list()),
        lambda: behind.folders(),
        behind.check_writable,
    ):
        with pytest.raises(SetupError, match=rf"bucket {bucket} is refused.*AWS_PROFILE.*to resume"):
            use()


def test_a_missing_bucket_and_a_missing_server_are_reported(s3, monkeypatch, bucket):
    missing = Store("s3://no-such-bucket/x")
    for use in (lambda: missing.get("a"), lambda: missing.put_new("a", b""), lambda: list(missing.list())):
        with pytest.raises(SetupError, match="no bucket no-such-bucket"):
            use()


@pytest.mark.parametrize(
    ("fault", "answers"),
    [(Fault(status=503), False), (Fault(reset="before"), False), (Fault(status=403), True)],
)
def test_a_store_that_does_not_answer_is_told_from_one_that_refuses(
    behind, proxy, monkeypatch, fault, answers
):
    monkeypatch.setitem(_RETRY, "max_retries", 1)
    monkeypatch.setattr("pipeline.storage.store._WAITS", (0.01,))
    proxy.fault = lambda method, path: fault
    for use in (lambda: behind.get("x"), lambda: behind.delete(["x"])):
        with pytest.raises(SetupError) as caught:
            use()
        assert isinstance(caught.value, StoreUnreachableError) is not answers


@pytest.mark.slow
def test_a_server_that_never_recovers_is_reported_after_some_tries(behind, proxy):
    proxy.fault = lambda method, path: Fault(status=503)
    with pytest.raises(SetupError, match=r"after 10 retries.*SlowDown"):
        behind.get("x")
    assert len(proxy.seen) == 11


def profile(tmp_path, monkeypatch, text):
    """boto3's files instead of keys in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "mine")


def test_a_profile_gives_keys_and_endpoint(s3, bucket, tmp_path, monkeypatch):
    keys = f"aws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n"
    profile(tmp_path, monkeypatch, f"[mine]\n{keys}endpoint_url={s3.endpoint}\nregion=eu-central-1\n")
    assert Store(bucket).put_new("x", b"1")
    monkeypatch.setenv("AWS_PROFILE", "another")
    with pytest.raises(SetupError, match="another"):
        Store(bucket).get("x")


def test_a_program_of_a_profile_gives_keys(s3, bucket, tmp_path, monkeypatch):
    """As SSO helpers do."""
    said = f'{{"Version": 1, "AccessKeyId": "{KEY}", "SecretAccessKey": "{SECRET}"}}'
    (tmp_path / "said.json").write_text(said)
    profile(
        tmp_path,
        monkeypatch,
        f"[mine]\ncredential_process=cat {tmp_path}/said.json\nendpoint_url={s3.endpoint}\n",
    )
    assert Store(bucket).put_new("x", b"1")


def test_with_read_only_access_writing_is_refused_with_a_clear_error(bucket, monkeypatch):
    Store(bucket).put_new("x", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    reading = Store(bucket)
    assert reading.get("x") == b"1"
    assert paths(reading) == ["x"]
    with pytest.raises(SetupError, match="refused"):
        reading.check_writable()


def test_no_secret_is_in_an_error(bucket, monkeypatch):
    wrong = "wrong-secret-that-nobody-may-read"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    with pytest.raises(SetupError, match="SignatureDoesNotMatch") as told:
        Store(bucket).get("x")
    everything = "".join(traceback.format_exception(told.value)) + repr(told.value.__cause__)
    assert wrong not in everything
    with pytest.raises(SetupError, match="can't hold credentials") as told:
        normalize_uri("s3://AKIA123:hidden@bucket/x")
    assert "hidden" not in str(told.value)


def test_a_path_that_is_not_a_directory_is_reported(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="can't use"):
        Store(str(tmp_path / "file" / "sub")).check_writable()
    for uri in ("ftp://host/x", "s3://", "s3:///x"):
        with pytest.raises(SetupError, match="storage is a path"):
            normalize_uri(uri)


def test_checking_for_write_access_leaves_nothing_behind(store):
    store.check_writable()
    assert paths(store) == []


def test_a_pickled_store_has_no_credentials(store):
    store.put_new("a", b"1")
    travelling = pickle.dumps(store)
    assert SECRET.encode() not in travelling
    assert pickle.loads(travelling).get("a") == b"1"


class GoogleDeletes:
    """Deletes one object after another and stops at the first error, as obstore does for gs://."""

    def __init__(self, stored, protected=()):
        self.stored, self.protected = set(stored), set(protected)
        self.requests = 0

    def delete(self, store, paths):
        for path in [paths] if isinstance(paths, str) else paths:
            self.requests += 1
            if path in self.protected:
                raise PermissionError(f"403 Forbidden: {path}")
            if path not in self.stored:
                raise FileNotFoundError(path)
            self.stored.remove(path)


def test_an_object_is_there_once_it_is_written_completely(store):
    memory = bytearray(b"one")
    with store.create("a/b") as file:
        file.write(memory)
        memory[:] = b"two"  # the caller uses its memory again
        file.write(memory)
        assert file.tell() == 6
        assert not store.exists("a/b")
    assert store.get("a/b") == b"onetwo"
    with suppress(KeyError), store.create("a/c") as file:
        file.write(b"one")
        raise KeyError
    assert not store.exists("a/c")


def test_a_file_replaces_an_object(store, tmp_path):
    file = tmp_path / "file"
    for content in (b"one", b"two"):
        file.write_bytes(content)
        store.put("a/b", file)
        assert store.get("a/b") == content


@pytest.fixture
def google(monkeypatch):
    def fake(stored, protected=()):
        deletes = GoogleDeletes(stored, protected)
        monkeypatch.setattr("pipeline.storage.store.obstore.delete", deletes.delete)
        store = Store("gs://bucket/root")
        store._store = object()
        return store, deletes

    return fake


def test_a_missing_object_does_not_keep_the_rest_of_a_batch_from_being_deleted(google):
    store, deletes = google({"a", "b", "c", "d"})
    store.delete(["a", "gone", "b", "gone too", "c"])
    assert deletes.stored == {"d"}


def test_objects_that_cannot_be_deleted_are_reported_after_the_others_were_deleted(google):
    store, deletes = google({"a", "b", "c", "d"}, protected={"b", "c"})
    with pytest.raises(SetupError, match=r"can't delete: .*gs://bucket/root/b.*\(and 1 more objects\)"):
        store.delete(["a", "b", "c", "gone", "d"])
    assert deletes.stored == {"b", "c"}


def test_without_permission_the_first_batch_is_enough(google, monkeypatch):
    monkeypatch.setattr("pipeline.storage.store._DELETE_BATCH", 2)
    names = [str(number) for number in range(10)]
    store, deletes = google(names, protected=names)
    with pytest.raises(SetupError, match="is refused"):
        store.delete(names)
    assert deletes.requests == 3
