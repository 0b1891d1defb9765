"""A build in partitions has the samples of one at once, and builds a new partition alone."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.build.partitions import build_partitions, chosen, planned
from pipeline.build.run import build
from pipeline.config.recipe import load
from pipeline.export.run import export
from pipeline.planning.plan import make_plan
from pipeline.storage.store import Store
from pipeline.training.data import indexed, shards_of
from pipeline.versions.forget import purge, tombstone
from pipeline.versions.gc import garbage, heads_of, needed
from pipeline.versions.reader import Reference, open_version, published, version_at
from pipeline.versions.samples import samples
from pipeline.versions.tags import tag
from pipeline.versions.verify import faults
from schemas.errors import SetupError
from stages.train.documents import Documents
from tests.pipeline.annotations import commit, recipe_of
from tests.stages.annotated import a_turn

JULY, AUGUST = ("2026/07/a.wav", "2026/07/b.wav"), ("2026/08/c.wav",)


def said(*names):
    return {
        name: [
            a_turn(start=5.0 * n, end=5.0 * n + 4.5, index=n, recording=name, text=f"words of {name} {n}")
            for n in range(2)
        ]
        for name in names
    }


def partitioned(folder, *names, **recipe):
    """The recipe of a build in partitions whose recordings are annotated."""
    turns = said(*names)
    loaded = load(recipe_of(folder, turns, partitions={"folders": 2}, **recipe))
    for partition in chosen(loaded, ()):
        commit(planned(loaded, partition), turns)
    return loaded


def opened(recipe):
    return open_version(Reference(recipe.output, recipe.name))


def content(version):
    return {
        sample.key: (sample.family, sample.record["source"]["recording"], np.array(sample.tokens).tobytes())
        for sample in samples(version)
    }


def test_it_has_the_samples_and_counts_of_a_build_at_once(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    built = build_partitions(recipe)
    version = opened(recipe)
    at_once = recipe.model_copy(update={"partitions": None, "name": "at-once"})
    plan = make_plan(at_once)
    commit(plan, said(*JULY, *AUGUST))
    whole = build(plan).manifest
    assert content(version) == content(version_at(plan.dataset, whole.version))
    assert [part.partition for part in built.manifest.parts] == ["2026-07", "2026-08"]
    for counts in (
        "recordings",
        "turns",
        "samples",
        "tokens",
        "splits",
        "set_aside",
        "kept_seconds",
        "stages",
    ):
        assert getattr(built.manifest, counts) == getattr(whole, counts), counts
    assert sum(root["recordings"] for root in built.manifest.inputs) == 3
    assert list(faults(version)) == []


def test_tables_name_the_shards_of_the_manifest(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    build_partitions(recipe)
    version = opened(recipe)
    shards = {shard.path for shard in version.manifest.shards}
    with version.table("index") as index, version.table("turns") as turns:
        assert set(index.to_table()["shard"].to_pylist()) == shards
        assert turns.count_rows() == version.manifest.turns.diarized == 6
    assert all(version.store.exists(version.path(shard)) for shard in shards_of(version, "train"))


def test_tables_in_object_storage_are_those_of_all_partitions_and_read_there(tmp_path, bucket, monkeypatch):
    as_before = Store.local
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    build_partitions(recipe)
    copied = Store(f"{bucket}/{recipe.name}")
    root = tmp_path / "out" / recipe.name
    for file in (path for path in root.rglob("*") if path.is_file()):
        copied.put_new(str(file.relative_to(root)), file)
    there, here = open_version(Reference(bucket, recipe.name)), opened(recipe)
    copied_back = []

    def noted(store, path, folder=None):
        if not store.is_local:
            copied_back.append(path.rpartition("/")[2])
        return as_before(store, path, folder)

    monkeypatch.setattr(Store, "local", noted)
    for name in ("turns", "set_aside", "index"):
        with there.table(name) as remote, here.table(name) as local:
            assert remote.to_table().equals(local.to_table())
            assert remote.schema.equals(local.schema)
            some = remote.schema.names[:2]
            assert remote.to_table(columns=some).equals(local.to_table(columns=some))
    assert set(copied_back) == {"index.parquet"}, "whose paths are rewritten"
    copied.delete([str(file.relative_to(root)) for file in root.rglob("turns.parquet")])
    with pytest.raises(SetupError, match=r"has no turns\.parquet"), there.table("turns"):
        pass


def test_it_is_trained_on_and_exported_like_any_other(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    build_partitions(recipe)
    version = opened(recipe)
    of_train = {sample.key for sample in samples(version, "train")}
    documents = Documents(
        indexed(version, tmp_path / "index"), lambda ranges: [_read(version, *one) for one in ranges]
    )
    assert {document.key for document in documents.read(range(len(documents)))} == of_train
    done = export(version, "energon", tmp_path / "energon")
    assert done.samples == sum(version.manifest.splits.values())
    assert len(list((tmp_path / "energon").rglob("*.tar"))) == len(version.manifest.shards) > 1


def _read(version, shard, start, size):
    return version.store.read(version.path(shards_of(version, "train")[shard]), start, start + size)


def test_turns_are_exported_by_partition(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    build_partitions(recipe)
    with pytest.raises(SetupError, match="2 partitions, and turns are exported from each: name one"):
        export(opened(recipe), "jsonl", tmp_path / "turns")


def test_a_new_partition_is_built_alone_and_the_others_stay(tmp_path):
    recipe = partitioned(tmp_path, *JULY)
    first = build_partitions(recipe).manifest
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    (tmp_path / "in" / "2026" / "07" / "later.wav").write_bytes(b"not annotated, nor looked at")
    told = []
    second = build_partitions(recipe, ["2026-08"], on_progress=told.append)
    assert told == ["partition 2026-08, 1 of 1"]
    assert second.status == "published"
    assert second.manifest.parts[0] == first.parts[0]
    assert second.manifest.recordings.in_ == 3
    assert build_partitions(recipe, ["2026-08"]).status == "nothing new"
    listed = published(Reference(recipe.output, recipe.name))
    assert [version.id for version, _ in listed] == [second.manifest.version, first.version]
    assert listed[0][0].manifest.shards == []  # heads alone
    assert listed[0][0].manifest.shard_count == len(opened(recipe).manifest.shards)


def test_builds_of_different_partitions_at_the_same_time_lose_none(tmp_path):
    names = [f"2026/{month:02}/a.wav" for month in range(1, 7)]
    recipe = partitioned(tmp_path, *names)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: build_partitions(recipe, [f"2026-{n:02}"]), range(1, 7)))
    manifest = opened(recipe).manifest
    assert [part.partition for part in manifest.parts] == [f"2026-{month:02}" for month in range(1, 7)]
    assert manifest.recordings.in_ == 6
    assert manifest.version == build_partitions(recipe).manifest.version


def test_parts_of_other_settings_are_refused(tmp_path):
    build_partitions(partitioned(tmp_path, *JULY, *AUGUST))
    other = partitioned(tmp_path, *JULY, *AUGUST, compose={"families": ["asr"]})
    with pytest.raises(SetupError, match=r"2026-07 was built with different settings, .*: build without"):
        build_partitions(other, ["2026-08"])
    assert build_partitions(other).status == "published"


def test_settings_that_change_no_output_of_a_partition_are_those_of_the_new_build(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    first = build_partitions(recipe).manifest
    other = partitioned(tmp_path, *JULY, *AUGUST, select={"words_min": 1})
    second = build_partitions(other)
    assert second.manifest.version == first.version
    (tmp_path / "in" / "2026" / "09").mkdir()
    names = (*JULY, *AUGUST, "2026/09/d.wav")
    third = build_partitions(partitioned(tmp_path, *names, select={"words_min": 1}))
    assert [part.partition for part in third.manifest.parts] == ["2026-07", "2026-08", "2026-09"]


def test_a_build_of_all_keeps_what_was_added_while_it_ran(tmp_path):
    recipe = partitioned(tmp_path, *JULY)

    def add(line):
        if line == "partition 2026-07, 1 of 1":
            build_partitions(partitioned(tmp_path, *JULY, *AUGUST), ["2026-08"])

    parts = build_partitions(recipe, on_progress=add).manifest.parts
    assert [part.partition for part in parts] == ["2026-07", "2026-08"]
    (tmp_path / "in" / "2026" / "08" / "c.wav").unlink()
    parts = build_partitions(recipe).manifest.parts
    assert [part.partition for part in parts] == ["2026-07"]  # that of an empty folder goes


def test_parts_are_kept_as_long_as_a_version_of_all_is(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    build_partitions(recipe)
    other = partitioned(tmp_path, *JULY, *AUGUST, compose={"families": ["asr"]})
    build_partitions(other)
    whole = Store(f"{recipe.output}/given")
    july = Store(whole.join("partitions/2026-07"))
    assert len(needed(july)) == 2
    (old,) = [item for item in garbage(whole, days=0) if item.kind == "version"]
    whole.delete(old.paths)
    assert len(needed(july)) == 1


def test_a_partition_whose_recordings_are_all_forgotten_is_left_out_and_deleted(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    first = build_partitions(recipe).manifest
    august = Store(f"{recipe.output}/given/partitions/2026-08")
    tombstone(august, AUGUST)
    with pytest.raises(
        SetupError, match=f"{first.version} of .*/given, which is tagged latest, contains them"
    ):
        purge(august, AUGUST)
    assert build_partitions(recipe).manifest.recordings.in_ == 2
    assert purge(august, AUGUST)
    assert [version.id for version, _ in published(Reference(recipe.output, recipe.name))] == [
        opened(recipe).id
    ]


def test_a_version_that_a_tagged_one_consists_of_is_not_deleted(tmp_path):
    recipe = partitioned(tmp_path, *JULY, *AUGUST)
    whole, first = Store(f"{recipe.output}/given"), build_partitions(recipe).manifest
    tag(whole, "good", first.version)
    july = Store(whole.join("partitions/2026-07"))
    tombstone(july, JULY[:1])
    partitioned(tmp_path, *JULY, *AUGUST)  # the unit without it is another one
    assert build_partitions(recipe).manifest.recordings.in_ == 2
    with pytest.raises(SetupError, match="which is tagged good, contains them: move the tag first"):
        purge(july, JULY[:1])
    assert list(faults(version_at(whole, first.version))) == []


def test_a_dataset_keeps_its_parts_when_it_is_moved(tmp_path):
    recipe = partitioned(tmp_path, *JULY)
    head = build_partitions(recipe).manifest
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    assert heads_of(Store(str(tmp_path / "elsewhere/given/partitions/2026-07")), head.parts[0].version) == [
        head.version
    ]


@pytest.mark.parametrize(
    ("names", "levels", "message"),
    [
        (("a.wav", "x/b.wav"), 1, r"in/a\.wav is in no partition: .*move it into one"),
        (("x/a.wav", "x/y/b.wav"), 2, r"in/x/a\.wav is in no partition"),
        (("x/a.wav",), 2, r"x/a\.wav is in no partition"),
        (
            ("A b/a.wav", "a-b/b.wav"),
            1,
            "the partitions A b and a-b would both be called a-b: rename a folder",
        ),
    ],
)
def test_recordings_outside_of_partitions_are_told(tmp_path, names, levels, message):
    recipe = load(recipe_of(tmp_path, said(*names), partitions={"folders": levels}))
    with pytest.raises(SetupError, match=message):
        chosen(recipe, ())


def test_what_is_in_no_folder_of_the_inputs_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"`partitions` are of the inputs, and `texts` is in none of them"):
        load(recipe_of(tmp_path, said(*JULY), partitions={"folders": 1}, texts=["texts.jsonl"]))
    recipe = load(recipe_of(tmp_path, said(*JULY), partitions={"folders": 2}))
    with pytest.raises(SetupError, match="no partition is called 2026-09: there is 2026-07"):
        chosen(recipe, ["2026-09"])
    with pytest.raises(SetupError, match="--partition"):
        chosen(recipe.model_copy(update={"limit_hours": 1.0}), ())


def test_inputs_that_share_a_name_have_the_ids_of_a_build_at_once(tmp_path):
    for place in ("calls", "archive"):
        (tmp_path / place / "2026-07").mkdir(parents=True)
        (tmp_path / place / "2026-07" / "a.wav").write_bytes(place.encode())
    recipe = load(recipe_of(tmp_path, {}, inputs=["calls", "archive"], partitions={"folders": 1}))
    (partition,) = chosen(recipe, ())
    at_once = make_plan(recipe.model_copy(update={"partitions": None}))
    ids = [recording.id for recording in planned(recipe, partition).listing.recordings]
    assert ids == [recording.id for recording in at_once.listing.recordings]
    assert ids == ["archive/2026-07/a.wav", "calls/2026-07/a.wav"]


def test_an_empty_folder_is_told_and_left_out(tmp_path):
    recipe = partitioned(tmp_path, *JULY)
    (tmp_path / "in" / "2026" / "09").mkdir()
    told = []
    built = build_partitions(recipe, on_progress=told.append)
    assert "partition 2026-09 has no recordings" in told
    assert [part.partition for part in built.manifest.parts] == ["2026-07"]


def test_a_dataset_without_partitions_does_not_become_one_with(tmp_path):
    recipe = load(recipe_of(tmp_path, said(*JULY), partitions={"folders": 2}))
    at_once = make_plan(recipe.model_copy(update={"partitions": None}))
    commit(at_once, said(*JULY))
    build(at_once)
    with pytest.raises(SetupError, match="versions without partitions: give the recipe another `name`"):
        build_partitions(recipe)


def test_nor_does_one_with_partitions_become_one_without(tmp_path):
    recipe = partitioned(tmp_path, *JULY)
    build_partitions(recipe)
    with pytest.raises(SetupError, match="has `partitions`, and only a build plans each of them"):
        make_plan(recipe)
    at_once = make_plan(recipe.model_copy(update={"partitions": None}))
    with pytest.raises(SetupError, match="has 1 partitions: give the recipe another `name`"):
        build(at_once)
