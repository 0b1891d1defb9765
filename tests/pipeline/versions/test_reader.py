import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.store import Store
from pipeline.versions.reader import Reference, open_version, published, tags_of
from pipeline.versions.verify import faults
from schemas.errors import SetupError

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "root", "name", "wanted"),
    [
        ("out/demo@latest", "out", "demo", "latest"),
        ("out/demo", "out", "demo", "latest"),
        ("out/demo/", "out", "demo", "latest"),
        ("/data/demo@3f2a91", "/data", "demo", "3f2a91"),
        ("/demo", "/", "demo", "latest"),
        ("demo/", "./datasets", "demo", "latest"),
        ("demo", "./datasets", "demo", "latest"),
        ("demo@good", "./datasets", "demo", "good"),
        ("s3://bucket/sets/calls@3f2a91", "s3://bucket/sets", "calls", "3f2a91"),
        ("gs://bucket/calls", "gs://bucket", "calls", "latest"),
        ("user@host/demo@v1", "user@host", "demo", "v1"),
    ],
)
def test_a_reference_has_a_folder_a_dataset_and_a_version(text, root, name, wanted):
    assert Reference.parse(text) == Reference(root, name, wanted)


@pytest.mark.parametrize("text", ["", "/", "@latest", "out/demo@", "s3://bucket", "out/..", "a b", "a@b@c"])
def test_text_that_is_not_a_reference_is_refused(text):
    with pytest.raises(SetupError, match="not a dataset reference"):
        Reference.parse(text)


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES, NAMES, st.sampled_from(["", "/", "s3://", "file:///"]))
def test_the_text_of_a_reference_parses_to_the_same_reference(folders, name, wanted, start):
    reference = Reference(start + "/".join(folders), name, wanted)
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text):
    try:
        reference = Reference.parse(text)
    except SetupError:
        return
    assert Reference.parse(str(reference)) == reference


def test_a_version_opens_by_tag_by_id_and_by_the_first_digits_of_its_id(small_build):
    id = small_build.summary["version"]
    for wanted in ("latest", id, id[:5]):
        assert open_version(Reference.parse(f"{small_build.dataset}@{wanted}")).id == id


def test_a_bare_name_is_looked_up_under_datasets(small_build, tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "small").symlink_to(small_build.dataset)
    monkeypatch.chdir(tmp_path)
    assert open_version(Reference.parse("small")).id == small_build.summary["version"]


def test_for_a_wrong_name_the_existing_ones_are_listed(small_build):
    wrong = f"{small_build.dataset}l"
    with pytest.raises(SetupError, match=f"did you mean {small_build.dataset.name}"):
        open_version(Reference.parse(wrong))
    assert not Path(wrong).exists(), "looking for a dataset makes none"
    with pytest.raises(
        SetupError, match=rf"no version 'latets' \(did you mean latest\?\).*{small_build.summary['version']}"
    ):
        open_version(Reference.parse(f"{small_build.dataset}@latets"))
    with pytest.raises(SetupError, match="nor any other"):
        open_version(Reference.parse(str(small_build.inputs / "small")))


def opened(dataset):
    return open_version(Reference.parse(str(dataset)))


def second_version(dataset):
    """The same outputs under another id that begins alike."""
    first = opened(dataset)
    folder = Path(dataset, "versions", first.id)
    id = first.id[:-1] + ("0" if first.id[-1] != "0" else "1")
    shutil.copytree(folder, folder.with_name(id))
    manifest = json.loads((folder / "manifest.json").read_text())
    Path(folder.with_name(id), "manifest.json").write_text(json.dumps(manifest | {"version": id}))
    return id


def test_the_first_digits_of_two_ids_are_ambiguous(copy):
    id = second_version(copy)
    with pytest.raises(SetupError, match="matches 2 versions"):
        open_version(Reference.parse(f"{copy}@{id[:6]}"))
    assert open_version(Reference.parse(f"{copy}@{id}")).id == id


def test_a_version_without_a_manifest_does_not_exist_yet(copy):
    id = second_version(copy)
    (copy / "versions" / id / "manifest.json").unlink()
    with pytest.raises(SetupError, match="no version"):
        open_version(Reference.parse(f"{copy}@{id}"))


def test_the_highest_number_of_a_tag_counts(copy):
    store = Store(str(copy))
    for number in (1, 2, 9, 10):
        store.put_new(f"refs/good/{number}", f"id{number}\n".encode())
    assert tags_of(store)["good"] == "id10"


def test_versions_are_listed_newest_first_with_their_tags(copy):
    first, second = opened(copy).id, second_version(copy)
    Store(str(copy)).put_new("refs/latest/2", f"{second}\n".encode())
    listed = [(version.id, tags) for version, tags in published(Reference.parse(str(copy)))]
    assert listed == [(second, ["latest"]), (first, [])]


def test_a_published_version_has_no_faults(small_build):
    assert list(faults(opened(small_build.dataset))) == []


@pytest.mark.parametrize("kind", ["shards/train-000000.tar", "turns.parquet", "README.md", "report.html"])
def test_one_flipped_bit_is_found(copy, kind):
    path = copy / "versions" / opened(copy).id / kind
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it may be a link to a packed shard
    path.write_bytes(content)
    [fault] = faults(opened(copy))
    assert fault.path == kind
    assert "has changed" in fault.what


def test_a_missing_an_unlisted_and_a_truncated_file_are_found(copy):
    folder = copy / "versions" / opened(copy).id
    (folder / "shards" / "train-000000.tar").unlink()
    (folder / "shards" / "stranger.tar").write_bytes(b"")
    index = folder / "index.parquet"
    content = index.read_bytes()
    index.unlink()
    index.write_bytes(content[:-1])
    found = {fault.path: fault.what for fault in faults(opened(copy))}
    assert set(found) == {"shards/train-000000.tar", "shards/stranger.tar", "index.parquet"}
    assert "missing" in found["shards/train-000000.tar"]
    assert "not listed" in found["shards/stranger.tar"]
    assert "bytes" in found["index.parquet"]


def respell(dataset, change):
    path = dataset / "versions" / opened(dataset).id / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.unlink()
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("where", "change"),
    [
        (
            "turns.parquet",
            lambda m: m["turns"].update(used=m["turns"]["used"] + 1, diarized=m["turns"]["diarized"] + 1),
        ),
        ("set_aside.parquet", lambda m: m["set_aside"].update({"select/invented": 1})),
        ("index.parquet", lambda m: m["samples"].update(asr=m["samples"]["asr"] + 1)),
        ("manifest.json", lambda m: m["shards"][0].update(sha256="0" * 64)),
        ("manifest.json", lambda m: m["recordings"].update({"in": m["recordings"]["in"] + 1})),
        ("shards/train-000000.tar", lambda m: m["shards"][0].update(samples=m["shards"][0]["samples"] + 1)),
    ],
)
def test_counts_that_do_not_add_up_are_found(copy, where, change):
    respell(copy, change)
    assert where in {fault.path for fault in faults(opened(copy))}


def test_a_damaged_manifest_is_one_clear_message(copy):
    path = copy / "versions" / opened(copy).id / "manifest.json"
    content = path.read_text()
    path.unlink()
    path.write_text(content[: len(content) // 2])
    with pytest.raises(SetupError, match=r"manifest\.json is damaged"):
        opened(copy)


def test_the_commands_answer_people_and_machines(small_build, command):
    id = small_build.summary["version"]
    assert id in command("versions", "list", small_build.dataset).stdout
    [row] = json.loads(command("versions", "list", small_build.dataset, "--json").stdout)["versions"]
    age = datetime.now(UTC) - datetime.fromisoformat(row["published"])
    assert timedelta(0) <= age < timedelta(days=1)
    report = command("versions", "show", small_build.dataset).stdout.replace("\n", "")
    assert f"versions/{id}/report.html" in report
    assert (row["version"], row["tags"]) == (id, ["latest"])
    assert f"version {id}" in command("versions", "show", small_build.dataset).stdout
    manifest = json.loads(command("versions", "show", small_build.dataset, "--json").stdout)
    assert manifest["samples"] == small_build.summary["samples"]
    assert "is intact" in command("versions", "verify", small_build.dataset).stdout


def test_verify_fails_with_the_name_of_what_is_wrong(copy, command):
    (copy / "versions" / opened(copy).id / "README.md").unlink()
    done = command("versions", "verify", copy, "--json")
    assert done.code == 1
    assert [fault["path"] for fault in json.loads(done.stdout)["faults"]] == ["README.md"]
    assert "README.md is missing" in done.stderr


def test_failures_are_one_line_and_wrong_usage_is_exit_2(small_build, command):
    done = command("versions", "show", f"{small_build.dataset}@nothing")
    assert done.code == 1
    assert done.stderr.count("\n") == 1
    assert command("versions", "show", "s3://bucket").code == 2
