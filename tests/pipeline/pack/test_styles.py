"""Turns that are heard in another style than they were synthesised in: counted, and set aside if asked to."""

import pyarrow.parquet as pq

from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk


def call():
    """Two questions and slow answers, of which the second takes as long as when spoken plainly."""
    plain = {"speech_seconds": 3.0, "pitch_median_hz": 180.0, "loudness_lufs": -27.0}
    slow = {"role": "assistant", "message": 1, "voice": "af_heart", "labels": {"rate": "slow"}}
    spoken = [
        {"role": "human", "message": 0, "voice": "am_michael", "labels": {}},
        slow | {"plain": plain},
        {"role": "human", "message": 0, "voice": "am_michael", "labels": {}},
        slow | {"plain": plain | {"speech_seconds": 4.0}},
    ]
    sidecar = {"synthesis": {"speech": "kokoro", "spoken": spoken}}
    return two_who_talk("call.wav", 4, lambda n: {"sidecar": sidecar})


def published(folder, **settings):
    plan = planned(folder, {"call.wav": call()}, compose={"families": ["asr"]}, **settings)
    manifest = packed(plan, with_pages=True)
    return manifest, folder / "out" / "given" / "versions" / manifest.version


def test_the_share_that_is_heard_is_told_by_what_spoke(tmp_path):
    manifest, folder = published(tmp_path)
    assert manifest.styles == {"slow/confirmed": 1, "slow/refused": 1}
    assert manifest.voice_styles == {"kokoro: af_heart/slow/confirmed": 1, "kokoro: af_heart/slow/refused": 1}
    assert (manifest.turns.set_aside, manifest.samples["asr"]) == (0, 4)
    card = (folder / "README.md").read_text()
    assert "| slow | 2 | 1 | 1 | 0 |" in card
    assert "| kokoro: af_heart | slow | 2 | 50 % |" in card
    report = (folder / "report.html").read_text()
    assert "Styles, asked and heard" in report
    assert '<td data-label="Spoken by">kokoro: af_heart</td>' in report


def test_what_is_heard_otherwise_is_set_aside_with_both_values(tmp_path):
    manifest, folder = published(tmp_path, select={"styles": "confirmed"})
    assert manifest.set_aside == {"select/style_not_heard": 1}
    assert (manifest.turns.set_aside, manifest.samples["asr"]) == (1, 3)
    (row,) = pq.read_table(folder / "set_aside.parquet").to_pylist()
    told = "it is to be slow, and is heard as normal: 4.05 s of speech, and 4 spoken plainly"
    assert (row["turn"], row["message"]) == (3, told)
    assert manifest.styles == {
        "slow/confirmed": 1,
        "slow/refused": 1,
    }  # the share is of all that was asked for


def test_turns_of_each_outcome_are_in_the_report_and_in_the_table(tmp_path):
    _, folder = published(tmp_path)
    rows = pq.read_table(folder / "turns.parquet").to_pylist()
    assert [row["styles"] for row in rows] == [[], ["slow/confirmed"], [], ["slow/refused"]]
    report = (folder / "report.html").read_text()
    for outcome in ("confirmed", "refused"):
        assert f"slow, {outcome}: listen to 1 of 1 turn<" in report
