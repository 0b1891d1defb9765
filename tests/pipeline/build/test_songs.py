"""A song with its lyrics is kept and one with those of another song is set aside, with the two told apart."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from tests.paths import RECORDINGS

BIRTHDAY = "Happy birthday to you\nHappy birthday to you\nHappy birthday dear listener\nHappy birthday to you"
BOAT = (
    "Row, row, row your boat\nGently down the stream\nMerrily, merrily, merrily, merrily\nLife is but a dream"
)
RECIPE = """\
name: songs
inputs: [in]
output: out
quality: {melody: true}
select: {singing: {}}
compose: {families: [asr]}
shard: {validation_share: 0}
"""


@pytest.mark.slow
def test_a_song_with_right_lyrics_is_kept_and_one_with_wrong_lyrics_set_aside(tmp_path, command):
    (tmp_path / "in").mkdir()
    for name, lyrics in (("right", BIRTHDAY), ("wrong", BOAT)):
        shutil.copy(RECORDINGS / "songs" / "vocadito_14.flac", tmp_path / "in" / f"{name}.flac")
        (tmp_path / "in" / f"{name}.flac.json").write_text(json.dumps({"lyrics": lyrics}))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    built = command("build", recipe, "--json")
    assert built.code == 0, built.stderr
    version = tmp_path / "out" / "songs" / "versions" / json.loads(built.stdout)["version"]
    rows = pq.read_table(version / "turns.parquet").to_pylist()
    assert all(row["sings"] for row in rows)
    by_song = {
        name: [row for row in rows if row["recording"] == f"{name}.flac"] for name in ("right", "wrong")
    }
    assert {row["status"] for row in by_song["right"]} == {"used"}
    assert {row["code"] for row in by_song["wrong"]} == {"other_text"}
    for right, wrong in zip(by_song["right"], by_song["wrong"], strict=True):
        assert right["transcript"]["text"] == wrong["transcript"]["text"]
        assert right["transcript"]["known_text"] in BIRTHDAY.replace("\n", " ")
        assert right["transcript"]["known_text_error"] <= 0.6 < wrong["transcript"]["known_text_error"]
        assert right["assessment"]["sustained_share"] > 0.2
        assert len(right["assessment"]["melody"]) == pytest.approx(
            (right["end"] - right["start"]) * 25, abs=2
        )
    manifest = json.loads((version / "manifest.json").read_text())
    kept = sum(row["end"] - row["start"] for row in by_song["right"])
    assert manifest["songs"]["kept"] == pytest.approx(kept, abs=0.01)
    assert manifest["songs"]["select/other_text"] == pytest.approx(kept, abs=0.01)
    assert "select/other_text" in (version / "README.md").read_text()
    assert "17.8 %" in (version / "report.html").read_text()
