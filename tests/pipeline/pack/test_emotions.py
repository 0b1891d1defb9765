"""The card tells how many claimed emotions were heard."""

from schemas.recording import HeardLabel
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk


def test_claims_of_kept_turns_are_counted(tmp_path):
    def heard(n):
        label = ("sad", "sad", "angry", None)[n]
        return {"heard": (HeardLabel("emotion", label, 0.9),), "sidecar": {"emotion": "sad"}}

    plan = planned(tmp_path, {"call.wav": two_who_talk("call.wav", 4, heard)}, compose={"families": ["asr"]})
    manifest = packed(plan, with_pages=True)
    assert manifest.styles == {"sad/confirmed": 2, "sad/refused": 2}
    version = tmp_path / "out" / "given" / "versions" / manifest.version
    assert "| sad | 4 | 2 | 2 | 0 |" in (version / "README.md").read_text()
