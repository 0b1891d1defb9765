from datetime import UTC, datetime

import pytest

from pipeline.storage import dataset_layout as layout


def test_paths_are_those_of_published_datasets():
    assert layout.annotation("38e5", "ab-01") == "annotations/38e5/ab-01.parquet"
    assert layout.annotation("38e5", "ab-01", retry=2) == "annotations/38e5/ab-01.retry-2.parquet"
    assert layout.sidecars("ab", "01") == "annotations/sidecars/ab-01.parquet"
    assert layout.plan("d1e3") == "plans/d1e3.json"
    assert layout.plan("d1e3", 2) == "plans/d1e3/2.json"
    assert layout.manifest("8938") == "versions/8938/manifest.json"
    assert layout.version("8938") == "versions/8938"
    assert layout.shard("train", 7) == "shards/train-000007.tar"
    assert layout.ref("latest", 3) == "refs/latest/3"
    assert layout.lineage("8938") == "lineage/8938"
    assert layout.death("38e5", "ab-01", 0, 2) == "deaths/38e5/ab-01.0/2.json"
    assert layout.lease("build", 1700000000.4, "00ff00ff") == "leases/build-1700000000-00ff00ff"
    started = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert layout.run(started, "d1e3") == "runs/20240506T070809-d1e3.json"


def test_parsers_read_what_the_functions_write():
    assert layout.parse_annotation(layout.annotation("38e5", "ab-01", 2)) == ("ab-01", 2)
    assert layout.parse_annotation(layout.annotation("38e5", "ab-01")) == ("ab-01", 0)
    assert layout.parse_ref(layout.ref("good.v1", 12)) == ("good.v1", 12)
    assert layout.parse_tombstone(layout.tombstone("00ff")) == "00ff"
    assert layout.parse_plan(layout.plan("d1e3")) == ("d1e3", 0)
    assert layout.parse_plan(layout.plan("d1e3", 2)) == ("d1e3", 2)
    assert layout.is_lineage(layout.lineage("8938", "training-small.json"))
    assert layout.is_lease(layout.lease("build", 1.0, "00ff"), "build")
    assert not layout.is_lease(layout.lease("build", 1.0, "00ff"), "removal")


@pytest.mark.parametrize("name", [".DS_Store", ".nfs0001", "1~", "#1#", ".1.swp", "1.bak", "01", "notes.txt"])
def test_files_of_other_programs_are_none_of_ours(name):
    assert layout.parse_ref(f"refs/latest/{name}") is None
    assert layout.parse_ref(f"refs/{name}") is None
    assert layout.parse_tombstone(f"forgotten/{name}") is None
    assert layout.parse_annotation(f"annotations/38e5/{name}") is None
    assert layout.parse_plan(f"plans/{name}") is None
    assert layout.parse_plan(f"plans/d1e3/{name}") is None
    assert not layout.is_lease(f"leases/{name}", "build")
    assert not layout.is_lineage(f"lineage/8938/{name}")


def test_the_replies_of_every_server_are_among_those_that_a_removal_deletes():
    recognisers = {layout.transcripts(name) for name in ("first", "second")}
    assert recognisers < set(layout.REPLIES)
