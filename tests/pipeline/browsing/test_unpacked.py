"""Turns that are annotated and not packed, judged as packing judges them, from units that all stages are
through."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import api
from pipeline.browsing.unpacked import UNPACKED, annotated_part, unpacked_turns
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from tests.pipeline.browsing.pages import TIMEOUT, browse_page


def annotated(build, *settings):
    return annotated_part(api.plan(api.load_recipe(build.recipe, *settings), dry_run=True))


def outcomes(path):
    return {
        row["key"]: (row["status"], row["code"], row["text"], row["assessment"])
        for row in pq.read_table(path).to_pylist()
    }


def test_turns_are_judged_as_packing_judges_them(small_build):
    with unpacked_turns(annotated(small_build)) as path:
        before = outcomes(path)
    packed = outcomes(small_build.version / "turns.parquet")
    assert {status for status, *_ in packed.values()} >= {"used", "set_aside"}
    kept = {"used": "eligible"}  # no sample uses them yet
    assert before == {key: (kept.get(status, status), *rest) for key, (status, *rest) in packed.items()}


def test_other_thresholds_are_looked_at_beside_the_version_without_packing(small_build):
    files = sorted(small_build.dataset.rglob("*"))
    version = open_version(Reference.parse(str(small_build.dataset)))
    with browse_page(version, annotated=[annotated(small_build, "select.seconds_min=3")]) as page:
        _, unpacked = page.get("/api/state")["versions"]
        assert (unpacked["id"], unpacked["limits"]["seconds_min"]) == (UNPACKED, 3.0)
        other = {"comparison": {"with_version": 0, "how": "other_status"}}
        shorter = {**other, "among": {"reason": ["select/too_short"]}}
        (first, *_) = page.get("/api/versions/1/turns", filter=shorter)["rows"]
        assert first["end"] - first["start"] < 3
        turn = f"/api/versions/1/turns/{first['key']}"
        assert page.ask("GET", f"{turn}/audio")[0] == 200
        assert page.ask("GET", f"{turn}/tokens")[0] == 200
        assert page.get(f"{turn}/samples") == {"samples": []}
    assert sorted(small_build.dataset.rglob("*")) == files


def test_a_stopped_build_shows_the_units_that_are_through_all_stages(small_build, tmp_path):
    for name in ("in", "out"):
        shutil.copytree(small_build.recipe.parent / name, tmp_path / name)
    recipe = shutil.copy(small_build.recipe, tmp_path)
    plan = api.plan(api.load_recipe(recipe), dry_run=True)
    first, second = plan.units
    ((file,),) = [plan.committed()["tokenize"][second.name]]
    plan.dataset.directory.joinpath(file).unlink()
    left = annotated_part(api.plan(api.load_recipe(recipe), dry_run=True))
    with unpacked_turns(left) as path:
        recordings = {row["recording"] for row in pq.read_table(path).to_pylist()}
    assert recordings
    assert recordings <= {recording.id for recording in first.recordings}


def test_a_recipe_without_annotations_is_told_to_be_built(small_build):
    with pytest.raises(SetupError, match="has no annotation of this recipe yet: run `aqaa-data build`"):
        annotated(small_build, "transcribe.beam=3")


def test_the_command_opens_a_recipe(small_build):
    command = [Path(sys.executable).with_name("aqaa-data"), "browse", "--recipe", small_build.recipe]
    options = ["--set", "select.seconds_min=3", "--port", "0", "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            opened = json.loads(process.stdout.readline())
            assert opened["versions"] == [UNPACKED]
            with closing(HTTPConnection(opened["url"].split("/")[2], timeout=TIMEOUT)) as connection:
                connection.request("GET", "/api/state")
                (one,) = json.loads(connection.getresponse().read())["versions"]
            assert one["dataset"] == "small"
            assert one["turns"] == small_build.summary["turns"]["diarized"]
        finally:
            process.send_signal(signal.SIGINT)
