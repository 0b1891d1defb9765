"""What is given about a listed recording, for the tests of formats."""

import json
from pathlib import Path

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.listing import list_inputs
from pipeline.inputs.refusals import refusal_of
from pipeline.inputs.sidecars import sidecar_text
from pipeline.inputs.spooled_audio import SpooledAudio
from schemas.companions import by_preference, read
from stages.decode.config import DecodeConfig
from tests.paths import DEMO

ONE, OTHER = (DEMO / "monologues" / name for name in ("LJ002-0020.wav", "1688-142285-0003.flac"))
"""Two short recordings."""


def listed(*inputs: object) -> dict[str, ListedRecording]:
    """The recordings of inputs by id."""
    return {r.id: r for r in list_inputs([str(one) for one in inputs]).recordings}


def turns(recording: ListedRecording) -> list[tuple[float, float, str, str | None]]:
    """(start, end, speaker, text) of each turn that is given by the most preferred companion."""
    for companion in by_preference(recording.companions):
        text = SpooledAudio(Path(), DecodeConfig(), "").text(companion.uri)
        found = read(companion.kind, text, companion.name, recording.id)
        if found.segments:
            return [(s.start, s.end, s.speaker, s.text) for s in found.segments]
    return []


def fields(recording: ListedRecording) -> dict[str, object]:
    """The sidecar."""
    return dict(json.loads(sidecar_text(recording.sidecar.uri))) if recording.sidecar else {}


def why(recording: ListedRecording) -> tuple[str, str]:
    """Code and message of an entry that is set aside by its name."""
    refusal = refusal_of(recording.etag)
    assert refusal is not None, f"{recording.id} is not set aside"
    return refusal


def seconds(recording: ListedRecording, scratch: Path) -> float:
    """The length of its audio, as the stages read it."""
    with SpooledAudio(scratch, DecodeConfig(), "f") as audio:
        return len(audio.read(recording.recording("{}"))) / 16_000
