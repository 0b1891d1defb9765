"""End-to-end builds of real recordings with the command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import webdataset

from pipeline.ledger.annotations import Ledger
from pipeline.storage.store import Store
from pipeline.versions.reader import Reference, open_version
from schemas.layout import read
from schemas.turn import turns_of
from schemas.vocabulary import Vocabulary

COMMAND = str(Path(sys.executable).with_name("aqaa-data"))


def run(*arguments, **options):
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


def rebuild(small_build, output, *settings):
    """Run the small build again, with other settings and another output."""
    options = [option for setting in settings for option in ("--set", setting)]
    done = run("build", small_build.recipe, "--output", output, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def output(small_build, tmp_path):
    """A copy of the small build's output, to build into."""
    return shutil.copytree(small_build.output, tmp_path / "copied")


def test_the_object_on_stdout_describes_the_result(small_build):
    result = small_build.summary
    assert result["status"] == "published"
    assert result["recordings"] == {"in": 7, "kept": 5, "set_aside": 2}
    turns = result["turns"]
    assert turns["diarized"] == turns["used"] + turns["eligible"] + turns["set_aside"]
    assert set(result["samples"]) == {"continuation", "asr", "tts", "aqtaa"}
    assert sum(shard["samples"] for shard in result["shards"]) == sum(result["samples"].values())
    assert {"decode", "diarize", "transcribe", "quality", "tokenize", "pack", "publish"} <= set(
        result["seconds"]
    )
    assert sum(row["share"] for row in result["stages"]) == pytest.approx(1)
    assert result["bound"]


def test_set_aside_recordings_have_a_readable_reason(small_build):
    version = open_version(Reference.parse(str(small_build.dataset)))
    with version.table("set_aside") as table:
        rows = {r["recording"]: r for r in table.to_table().to_pylist() if r["turn"] is None}
    assert set(rows) == {"html_error.flac", "truncated.flac"}
    assert "HTML" in rows["html_error.flac"]["message"]


def test_a_sidecar_is_copied_into_the_samples(small_build):
    for sample in samples(small_build):
        record = json.loads(sample["json"])
        if record["source"]["recording"] == "LJ002-0020.wav":
            assert record["sidecar"]["licence"]
            return
    pytest.fail("no sample of LJ002-0020.wav")


def samples(small_build):
    shards = sorted(str(p) for p in (small_build.version / "shards").glob("*.tar"))
    return webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=None)


def test_every_sample_reads_back_as_its_original_text_and_codes(small_build, vocabulary: Vocabulary):
    manifest = json.loads((small_build.version / "manifest.json").read_text())
    ledger = Ledger(Store(str(small_build.dataset)))
    files: dict[str, dict[str, list[str]]] = {}
    for stage, fingerprint in manifest["stages"].items():
        for unit, paths in ledger.committed(fingerprint).items():
            files.setdefault(unit, {})[stage] = paths
    turns = {
        (turn.recording, turn.index): turn
        for unit in files.values()
        for recording in ledger.recordings(unit)
        for turn in turns_of(recording)
    }
    count = 0
    for sample in samples(small_build):
        record = json.loads(sample["json"])
        tokens = np.load(BytesIO(sample["tokens.npy"]))
        loss = np.load(BytesIO(sample["loss.npy"]))
        assert tokens.dtype == np.int32
        assert loss.dtype == np.uint8
        assert len(tokens) == len(loss)
        messages = read(tokens, vocabulary)
        for message, stored in zip(messages, record["messages"], strict=True):
            parts = stored["content"]
            assert message.text == "".join(p["text"] for p in parts if p["type"] == "text")
            spoken = [turns[p["recording"], p["turn"]].codes for p in parts if p["type"] == "audio"]
            for found, codes in zip(message.codes, spoken, strict=True):
                groups = min(len(codes.linguistic) // 2, len(codes.semantic) // 3)
                assert found.linguistic == codes.linguistic[: 2 * groups]
                assert found.semantic == codes.semantic[: 3 * groups]
        count += 1
    assert count == sum(small_build.summary["samples"].values())


def test_a_second_run_reports_nothing_new_and_runs_nothing(small_build, output):
    again = rebuild(small_build, output)
    assert again["status"] == "nothing new"
    assert again["version"] == small_build.summary["version"]
    assert again["seconds"] == {}


def test_another_threshold_runs_no_model(small_build, output):
    looser = rebuild(small_build, output, "select.seconds_min=0.5")
    assert looser["status"] == "published"
    assert looser["version"] != small_build.summary["version"]
    assert set(looser["seconds"]) == {"pack", "publish", "total"}


def test_retrying_recordings_that_stay_broken_changes_nothing(small_build, output):
    done = run("build", small_build.recipe, "--output", output, "--retry", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "unchanged"
    assert result["version"] == small_build.summary["version"]


def test_a_fresh_build_with_other_actors_gives_the_same_bytes(small_build, tmp_path):
    settings = [
        "resources.transcribe.actors=[2,2]",
        "resources.diarize.cpus=1",
        f"scratch={tmp_path}/scratch",
    ]
    again = rebuild(small_build, tmp_path / "out", *settings)
    assert again["version"] == small_build.summary["version"]
    assert again["shards"] == small_build.summary["shards"]


def test_ctrl_c_stops_cleanly_and_the_next_run_resumes(small_build, tmp_path):
    output = tmp_path / "out"
    arguments = [COMMAND, "build", str(small_build.recipe), "--output", str(output), "--json"]
    # A process group of its own, as a shell starts jobs, so that the signal reaches the same processes.
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    ledger = output / small_build.dataset.name / "annotations"
    until = time.monotonic() + 300
    while not list(ledger.glob("*/*.parquet")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert stdout == ""
    assert "stopped" in stderr
    assert "Traceback" not in stderr
    committed = {p: p.stat().st_mtime_ns for p in ledger.glob("*/*.parquet")}
    assert committed
    again = rebuild(small_build, output)
    assert again["version"] == small_build.summary["version"]
    assert {p: p.stat().st_mtime_ns for p in committed} == committed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "transcribe.model=file:/no/such/model"], "there is no /no/such/model"),
        (["--set", "transcribe.model=hub:nobody/nothing"], "aqaa-data models pull"),
        (["--input", "/no/such/place"], "no such file or directory"),
        (["--set", "resources.decode.gpus=8"], "decode needs 8 GPUs"),
        (["--set", "selct.x=1"], "did you mean `select`?"),
    ],
)
def test_a_broken_setup_fails_at_once_with_one_message(small_build, tmp_path, arguments, message):
    done = run("build", small_build.recipe, "--output", tmp_path / "out", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_output_that_is_not_a_directory_is_reported(small_build, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("build", small_build.recipe, "--output", tmp_path / "file")
    assert done.returncode == 1
    assert "can't use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_shows_the_plan_and_writes_nothing(small_build, tmp_path):
    done = run("build", small_build.recipe, "--output", tmp_path / "out", "--dry-run", "--json")
    result = json.loads(done.stdout)
    assert result["recordings"] == 7
    assert result["units"]["to_run"] == result["units"]["all"]
    assert all(model["bytes"] > 0 for stage in result["stages"] for model in stage["models"])
    assert not (tmp_path / "out").exists()


def test_a_bad_sidecar_sets_its_recording_aside(small_build, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copy(small_build.inputs / "LJ002-0020.wav", inputs)
    (inputs / "LJ002-0020.wav.json").write_text("{consent: no")
    done = run("build", small_build.recipe, "--input", inputs, "--output", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["recordings"] == {"in": 1, "kept": 0, "set_aside": 1}
    assert result["samples"] == {}


def test_it_refuses_to_start_where_the_working_directory_shadows_a_package(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text("")
    done = run("models", "list", cwd=tmp_path)
    assert done.returncode == 1
    assert "run the command in another directory" in done.stderr


def test_init_writes_a_working_recipe(tmp_path):
    assert run("init", tmp_path / "new").returncode == 0
    done = run("build", tmp_path / "new" / "recipe.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 recordings" in done.stdout
    assert run("init", tmp_path / "new").returncode == 1
