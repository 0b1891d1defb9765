"""The page's server: what it answers, what it refuses, and marks that a build uses."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import soundfile

from pipeline.browsing.app import is_local
from pipeline.browsing.audio import MARGIN, piece
from pipeline.browsing.marks import MarksFile
from pipeline.config.recipe import load
from pipeline.pack.groups import Decisions
from pipeline.pack.selection import refused_turns
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from tests.paths import DEMO
from tests.pipeline.browsing.pages import RECORDINGS, STEVE, browse_page, small_version
from tests.stages.annotated import a_turn

TURN = f"/api/versions/0/turns/{STEVE}3"


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return small_version(tmp_path_factory.mktemp("version"))


@pytest.fixture(scope="module")
def page(version):
    with browse_page(version) as running:
        yield running


def test_the_state_says_what_is_open(page, version):
    state = page.get("/api/state")
    (one,) = state["versions"]
    assert (one["id"], one["turns"]) == (version.id, 8)
    assert one["limits"]["seconds_min"] == 1.0
    assert state["marks"] is None


def test_a_filter_gives_its_turns_their_number_and_their_charts(page):
    wanted = {"among": {"reason": ["select/too_short"]}}
    found = page.get("/api/versions/0/turns", filter=wanted, order={"by": "seconds", "descending": True})
    assert found["turns"] == 3
    assert [row["key"][-1] for row in found["rows"]] == ["0", "1", "5"]
    charts = page.get("/api/versions/0/charts", filter=wanted)
    assert charts["values"]["status"] == {"set_aside": 3}
    assert sum(charts["histograms"]["seconds"]) == 3


def test_a_moved_threshold_says_how_much_comes_and_goes(page):
    moved = page.get("/api/versions/0/moved", threshold={"limit": "seconds_min", "value": 0.8})
    assert (moved["comes"]["turns"], moved["goes"]["turns"]) == (2, 0)
    wanted = {"moved": {"limit": "seconds_min", "value": 3.0, "side": "goes"}}
    assert page.get("/api/versions/0/turns", filter=wanted)["turns"] == 3


def test_a_turn_comes_with_its_words_and_the_turns_around_it(page):
    found = page.get(TURN)
    assert found["turn"]["transcript"]["words"][0]["text"].strip() == "Not"
    assert [turn["index"] for turn in found["around"]] == list(range(7))


def test_a_turn_is_heard_from_its_recording_also_in_pieces(page):
    status, content, headers = page.ask("GET", f"{TURN}/audio")
    assert (status, headers["content-type"]) == (200, "audio/wav")
    samples, rate = soundfile.read(io.BytesIO(content))
    turn = page.get(TURN)["turn"]
    assert rate == 16000
    assert float(headers["x-clip-start"]) == pytest.approx(turn["start"] - MARGIN)
    assert len(samples) / rate == pytest.approx(turn["end"] - turn["start"] + 2 * MARGIN, abs=0.01)
    whole, original = soundfile.read(DEMO / RECORDINGS[1], always_2d=True)
    first = round((turn["start"] - MARGIN) * original)
    same = whole[first : first + round(len(samples) / rate * original)].mean(axis=1)
    heard, recorded = (
        [np.sqrt(np.mean(stretch**2)) for stretch in np.array_split(one, 40)] for one in (samples, same)
    )
    assert np.corrcoef(heard, recorded)[0, 1] > 0.99
    status, part, headers = page.ask("GET", f"{TURN}/audio", range="bytes=100-199")
    assert (status, part) == (206, content[100:200])
    assert headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert page.ask("GET", f"{TURN}/audio", range=f"bytes={len(content)}-")[0] == 416


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, None),
        ("bytes=0-", (0, 10)),
        ("bytes=2-3", (2, 4)),
        ("bytes=8-99", (8, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=1-2,4-5", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_a_range_names_bytes(asked, found):
    assert piece(bytes(10), asked) == found


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=5-4", "bytes=-0"])
def test_a_range_beyond_the_content_is_refused(asked):
    with pytest.raises(ValueError, match="range"):
        piece(bytes(10), asked)


def test_the_samples_of_a_turn_have_their_prompt_and_target_apart(page):
    found = page.get(f"{TURN}/samples")["samples"]
    assert "asr" in {sample["family"] for sample in found}
    for sample in found:
        assert {part["target"] for part in sample["parts"]} == {False, True}


def test_the_tokens_of_a_turn_are_spoken(small_build):
    with browse_page(open_version(Reference.parse(str(small_build.dataset)))) as page:
        rows = page.get("/api/versions/0/turns", filter={"among": {"status": ["used"]}})["rows"]
        turn = min(rows, key=lambda row: row["end"] - row["start"])
        status, content, _ = page.ask("GET", f"/api/versions/0/turns/{turn['key']}/tokens")
    assert status == 200, content
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == 22_050
    assert len(samples) / rate == pytest.approx(turn["end"] - turn["start"], abs=0.3)
    assert np.abs(samples).max() > 0.05


def test_tokens_without_annotations_are_told(page):
    status, content, _ = page.ask("GET", f"{TURN}/tokens")
    assert status == 404
    assert "its tokens can't be spoken" in json.loads(content)["error"]


def test_a_recording_that_is_gone_is_told(tmp_path):
    with browse_page(small_version(tmp_path, RECORDINGS[:1])) as page:
        status, content, _ = page.ask("GET", f"{TURN}/audio")
        assert status == 404
        assert "can't be read: it is no longer among the inputs" in json.loads(content)["error"]
        assert page.get(TURN)["turn"]["text"].startswith("Not yet")
        (tmp_path / "LJ002-0020.wav").unlink()
        status, content, _ = page.ask("GET", "/api/versions/0/turns/2fb8525bb2d7535f-00000/audio")
        assert "the file is no longer there" in json.loads(content)["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/versions/0/turns/none",
        "/api/versions/1/turns",
        "/api/versions/-1/turns",
        "/api/versions/0/turns/..%2F..%2F..%2Fetc%2Fpasswd/audio",
        "/api/versions/0/turns/..%2Fmanifest.json",
        "/../pyproject.toml",
        "/docs",
    ],
)
def test_nothing_but_turns_of_open_versions_is_found(page, path):
    status, content, _ = page.ask("GET", path)
    assert status in (404, 422)
    assert b"root:" not in content


@pytest.mark.parametrize(
    "filter",
    ["{", '{"ranges": {"seconds; --": [1, 2]}}', '{"comparison": {"with_version": 5, "how": "only_here"}}'],
)
def test_what_is_no_filter_is_refused(page, filter):
    status, content, _ = page.ask("GET", f"/api/versions/0/turns?filter={quote(filter)}")
    assert status in (404, 422)
    assert json.loads(content)["error"]


def test_names_of_other_sites_are_refused(page):
    """As where a site has its own name point here, to read what its visitors can."""
    for host in ("evil.example", "evil.example:8091", "localhost.evil.example", ""):
        assert page.ask("GET", "/api/state", host=host)[0] == 403
    for host in ("localhost:1", "127.0.0.1", "[::1]:8091"):
        assert page.ask("GET", "/api/state", host=host)[0] == 200


def test_with_a_token_nothing_is_told_without_it(version):
    with browse_page(version, token="secret-0123456789") as page:
        assert page.ask("GET", "/")[0] == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret-0123456789"}):
            assert page.ask("GET", "/api/state", **headers)[0] == 401
        headers = {"authorization": "Bearer secret-0123456789", "host": "data.example"}
        assert page.ask("GET", "/api/state", **headers)[0] == 200


def test_addresses_that_only_this_machine_reaches():
    assert all(map(is_local, ("127.0.0.1", "localhost", "::1", "127.0.0.2")))
    assert not any(map(is_local, ("0.0.0.0", "::", "192.168.1.5", "data.example")))


def test_it_is_read_only_unless_it_has_a_file_of_marks(page):
    status, content, _ = page.mark(f"{STEVE}3", "bad")
    assert status == 403
    assert "--marks" in json.loads(content)["error"]


def test_marks_are_written_at_once_and_decide_in_the_next_build(version, tmp_path):
    file = tmp_path / "marks.jsonl"
    with browse_page(version, marks=file) as page:
        for turn, mark in ((3, "good"), (3, "bad"), (0, "good"), (4, "wrong_speaker"), (6, "bad"), (6, None)):
            assert page.mark(f"{STEVE}{turn}", mark)[0] == 200
        assert [json.loads(line)["mark"] for line in file.read_text().splitlines()][-1] is None
        rows = page.get("/api/versions/0/turns")["rows"]
        marks = {row["key"][-1]: row["mark"] for row in rows if row["key"].startswith(STEVE)}
        assert marks == dict.fromkeys("1256") | {"0": "good", "3": "bad", "4": "wrong_speaker"}
        with pytest.raises(SetupError, match="another `aqaa-data browse` writes"):
            MarksFile(file)
        for body in (
            {"version": 0, "key": f"{STEVE}3", "mark": "great"},
            {"version": 0, "key": "none", "mark": "bad"},
        ):
            assert page.ask("PUT", "/api/marks", body, content_type="application/json")[0] in (404, 422)
        plain = {"version": 0, "key": f"{STEVE}3", "mark": "bad"}
        assert page.ask("PUT", "/api/marks", plain, content_type="text/plain")[0] == 415
    with browse_page(version, marks=file) as page:
        assert page.get("/api/state")["marks"] == 3
    (tmp_path / "recipe.yaml").write_text("name: a\ninputs: [in]\nselect: {marks: marks.jsonl}\n")
    turns = [
        a_turn(
            start=row["start"],
            end=row["end"],
            index=row["index"],
            recording=row["recording"],
            dnsmos_overall=4.0,
        )
        for row in rows
        if row["key"].startswith(STEVE)
    ]
    refused = refused_turns(turns, load(tmp_path / "recipe.yaml"), None, Decisions())
    assert {index: problem.code for index, (_, problem) in refused.items()} == {
        1: "too_short",
        3: "marked_bad",
        4: "marked_wrong_speaker",
        5: "too_short",
    }


def test_a_file_of_something_else_is_no_file_of_marks(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"score": 3}\n')
    with pytest.raises(SetupError, match="isn't a file of marks: line 1"):
        MarksFile(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == '{"score": 3}\n'


def test_a_correction_is_kept_beside_the_mark_as_far_as_it_differs(version, tmp_path):
    file, key = tmp_path / "marks.jsonl", f"{STEVE}3"
    with browse_page(version, marks=file) as page:
        turn = page.get(TURN)["turn"]
        heard = {name: turn[name] for name in ("text", "speaker", "language")}
        assert page.mark(key, "wrong_speaker")[0] == 200
        assert page.correct(key, **heard | {"text": "Something else."})[0] == 200
        last = json.loads(file.read_text().splitlines()[-1])
        assert (last["mark"], last["corrected"]) == ("wrong_speaker", {"text": "Something else."})
        assert last["text"] == turn["text"]
        # The right speaker settles the mark of a wrong one, and a mark leaves the correction.
        _, content, _ = page.correct(key, **heard | {"speaker": "SPEAKER_09"})
        saved = json.loads(content)
        assert (saved["mark"], saved["corrected"], saved["marks"]) == (None, {"speaker": "SPEAKER_09"}, 1)
        assert page.mark(key, "good")[0] == 200
        (row,) = [row for row in page.get("/api/versions/0/turns")["rows"] if row["key"] == key]
        assert (row["mark"], row["corrected"]) == ("good", {"speaker": "SPEAKER_09"})
        for wrong in ({"text": ""}, {"speaker": " "}, {"language": "English"}):
            assert page.correct(key, **heard | wrong)[0] == 422
    with browse_page(version, marks=file) as page:
        assert page.get(TURN)["turn"]["corrected"] == {"speaker": "SPEAKER_09"}
        page.correct(key, **heard)
        page.mark(key, None)
        assert page.get("/api/state")["marks"] == 0


def test_corrections_of_the_page_are_in_the_version_of_the_next_build(small_build, tmp_path):
    shutil.copytree(small_build.output, tmp_path / "out")
    shutil.copytree(small_build.inputs, tmp_path / "in")
    shutil.copy(small_build.recipe, tmp_path)
    reference = Reference.parse(f"{tmp_path}/out/small")
    file = tmp_path / "marks.jsonl"
    with browse_page(open_version(reference), marks=file) as page:
        used = [row for row in page.get("/api/versions/0/turns")["rows"] if row["status"] == "used"]
        key, was = used[0]["key"], used[0]["text"]
        heard = {"text": "What was really said.", "speaker": used[0]["speaker"], "language": "en"}
        assert page.correct(key, **heard)[0] == 200
    command = [Path(sys.executable).with_name("aqaa-data"), "build", tmp_path / "recipe.yaml", "--json"]
    done = subprocess.run([*command, "--set", f"select.marks={file}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with browse_page(open_version(reference), marks=file) as page:
        turn = page.get(f"/api/versions/0/turns/{key}")["turn"]
        assert (turn["text"], turn["corrected_from"]["text"]) == (heard["text"], was)
        samples = page.get(f"/api/versions/0/turns/{key}/samples")["samples"]
        assert any(heard["text"] in part["text"] for sample in samples for part in sample["parts"])
        # Back to what was recognised.
        assert json.loads(page.correct(key, **heard | {"text": was})[1])["corrected"] is None
