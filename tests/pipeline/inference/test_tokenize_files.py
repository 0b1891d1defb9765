"""`aqaa-data tokenize`."""

import json
import re
from pathlib import Path

import pytest

from tests.paths import FIXTURES, RECORDINGS

CHECKPOINT = f"file:{FIXTURES}/step-audio-tokenizer-small"
GOLDEN = {
    line["file"]: line
    for line in map(
        json.loads, (FIXTURES / "step-audio-tokenizer-small.golden.jsonl").read_text().splitlines()
    )
}


@pytest.mark.parametrize("name", ["LJ002-0020.wav", "BAC009S0764W0121.wav", "1688-142285-0003.flac"])
def test_ids_equal_those_of_the_original_tokenizer(command, name: str) -> None:
    file = RECORDINGS / "demo/monologues" / name
    done = command("tokenize", "--tokenizer", CHECKPOINT, "--json", "--text", file)
    assert done.code == 0
    [line] = map(json.loads, done.stdout.splitlines())
    assert line["file"] == str(file)
    assert line["seconds"] == pytest.approx(GOLDEN[name]["samples16k"] / 16_000)
    assert line["linguistic"] == GOLDEN[name]["vq02"]
    assert line["semantic"] == GOLDEN[name]["vq06"]
    assert line["ids"] == GOLDEN[name]["merged"]
    assert [65536 + int(n) for n in re.findall(r"<audio_(\d+)>", line["text"])] == line["ids"]


def test_every_container_that_builds_accept_is_read(command) -> None:
    files = sorted(f for f in (RECORDINGS / "formats").iterdir() if f.suffix != ".json")
    done = command("tokenize", "--json", *files)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.code == 0, [line for line in lines if "error" in line]
    assert [line["file"] for line in lines] == list(map(str, files))
    for line in lines:
        groups = min(len(line["linguistic"]) // 2, len(line["semantic"]) // 3)
        assert groups > 0
        assert len(line["ids"]) == 5 * groups
        assert line["seconds"] == pytest.approx(groups * 0.12, abs=0.13)


def test_a_bad_file_gives_a_line_with_its_error_and_the_others_are_tokenized(command, tmp_path: Path) -> None:
    good = RECORDINGS / "demo/monologues/BAC009S0764W0121.wav"
    done = command(
        "tokenize", "--json", RECORDINGS / "bad/zero_bytes.wav", good, tmp_path / "nowhere.wav", tmp_path
    )
    assert done.code == 1
    empty, fine, missing, directory = map(json.loads, done.stdout.splitlines())
    assert "empty" in empty["error"]
    assert fine["linguistic"]
    assert missing["error"] == "there is no such file"
    assert "directory" in directory["error"]
    assert "3 of 4 files" in done.stderr


def test_output_without_json(command) -> None:
    file = RECORDINGS / "demo/monologues/BAC009S0764W0121.wav"
    assert re.fullmatch(r"(<audio_\d+>)+\n", command("tokenize", "--text", file).stdout)
    assert "4.20 s, 70 linguistic and 105 semantic codes, 35 groups" in command("tokenize", file).stdout


def test_a_missing_tokenizer_is_reported_in_one_line(command, tmp_path: Path) -> None:
    file = RECORDINGS / "demo/monologues/BAC009S0764W0121.wav"
    done = command("tokenize", "--tokenizer", f"file:{tmp_path}/none", file)
    assert done.code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "there is no" in done.stderr


def test_a_folder_without_a_tokenizer_is_told_with_what_could_be_there(command, tmp_path: Path) -> None:
    done = command("tokenize", "--tokenizer", f"file:{tmp_path}", RECORDINGS / "bad/zero_bytes.wav")
    assert done.code == 1
    for kind in ("codes.json", "codebooks.npz", "speech_paraformer"):
        assert kind in done.stderr
