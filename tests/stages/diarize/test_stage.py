"""Diarization of real conversations, calls and monologues."""

from dataclasses import replace
from itertools import combinations, groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.recording import Companion, Recording, Unit
from stages.decode import DecodeConfig, DecodeStage
from stages.diarize import DiarizeConfig, DiarizeStage
from tests.paths import RECORDINGS

TALKS, MONOLOGUES = RECORDINGS / "demo/conversations", RECORDINGS / "demo/monologues"
REFERENCE = RECORDINGS / "reference"
PLAIN = {"ami_trn05": 2.9, "ami_trn06": 7.2, "ami_trn09": 0.0}
"""Diarization error rate of pyannote with the same weights (tests/benchmarks/plain_diarization.py)."""


@pytest.fixture
def decoded(audio_source):
    """Decodes files to a unit of recordings."""

    def decode(*paths: Path, **config) -> Unit:
        stage = DecodeStage(DecodeConfig(**config), audio_source, {})
        stage.setup()
        recordings = [Recording(path.name, str(path), path.stat().st_size, "1", "{}") for path in paths]
        return stage(Unit("unit", tuple(recordings)))

    return decode


@pytest.fixture
def diarize(audio_source, decoded):
    """Decodes and diarizes files; returns the column of each."""

    def run(*paths: Path, threads=1, channels="auto", **config):
        stage = stage_of(audio_source, threads, **config)
        return [recording.diarize for recording in stage(decoded(*paths, channels=channels)).recordings]

    return run


def stage_of(audio_source, threads=1, **config) -> DiarizeStage:
    settings = DiarizeConfig(**config)
    models = {reference: resolve(reference).path for reference in settings.models}
    stage = DiarizeStage(settings, audio_source, models, threads)
    stage.setup()
    return stage


def write(path: Path, *parts) -> Path:
    sf.write(path, np.concatenate(parts), 16_000)
    return path


def voice(name: str, seconds: float | None = None) -> np.ndarray:
    samples, rate = sf.read(MONOLOGUES / name, dtype="float32")
    assert rate == 16_000
    return samples if seconds is None else samples[: round(seconds * rate)]


def voice_at(path: Path) -> np.ndarray:
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, 16_000)


def error_rate(column, name: str, seconds: float) -> float:
    hypothesis = Annotation()
    for index, turn in enumerate(column.result.turns):
        hypothesis[Segment(turn.start, turn.end), index] = turn.speaker
    (reference,) = load_rttm(REFERENCE / f"{name}.rttm").values()
    metric = DiarizationErrorRate(collar=0.5, skip_overlap=True)
    return 100 * metric(reference, hypothesis, uem=Timeline([Segment(0, seconds)]))


def codes(column) -> dict[int | None, str]:
    return {problem.turn: problem.code for problem in column.problems}


def test_meetings_are_diarized_as_well_as_by_pyannote(diarize):
    columns = diarize(*(TALKS / f"{name}.flac" for name in PLAIN))
    for (name, plain), column in zip(PLAIN.items(), columns, strict=True):
        assert error_rate(column, name, 30) <= plain + 1


def test_a_scripted_dialogue_alternates_between_two_speakers(diarize):
    (column,) = diarize(TALKS / "az_katiesteve.flac")
    assert [speaker.name for speaker in column.result.speakers] == ["SPEAKER_00", "SPEAKER_01"]
    spoken = [name for name, _ in groupby(turn.speaker[-1] for turn in column.result.turns)]
    assert "".join(spoken) == "010101"


@pytest.mark.parametrize(
    "name", ["sonnet001_en.mp3", "az_zhcn_long.flac", "simplicissimus_de.ogg", "LJ002-0020.wav"]
)
def test_a_monologue_has_one_speaker(diarize, name):
    (column,) = diarize(MONOLOGUES / name)
    (speaker,) = column.result.speakers
    assert speaker.seconds == pytest.approx(sum(s.end - s.start for s in column.result.segments), abs=0.01)
    assert len(speaker.embedding) == 192
    assert np.linalg.norm(speaker.embedding) == pytest.approx(1, abs=1e-6)


def test_channels_of_a_call_are_its_speakers(diarize):
    (column,) = diarize(TALKS / "call_autorepair.m4a")
    result = column.result
    assert {(turn.track, turn.speaker) for turn in result.turns} == {(0, "channel_1"), (1, "channel_2")}
    assert not any(turn.overlapped for turn in result.turns)
    assert any(a.start < b.end and b.start < a.end for a, b in combinations(result.turns, 2))
    voices = [np.array(speaker.embedding) for speaker in result.speakers]
    assert voices[0] @ voices[1] < 0.9


def test_crosstalk_from_the_other_channel_is_not_a_turn(diarize, tmp_path):
    agent, caller = voice("1688-142285-0003.flac"), voice("1998-15444-0004.flac", 5)
    quiet = np.random.default_rng(0).normal(0, 1e-4, len(agent) + len(caller)).astype(np.float32)
    left, right = quiet.copy(), quiet[::-1].copy()
    left[: len(agent)] += agent
    right[len(agent) :] += caller
    leak = 10 ** (-20 / 20)
    mixed = np.stack([left + leak * right, right + leak * np.roll(left, 80)], axis=1)
    (column,) = diarize(write(tmp_path / "call.wav", mixed), channels="split")
    middle = len(agent) / 16_000
    assert {turn.track for turn in column.result.turns} == {0, 1}
    for turn in column.result.turns:
        assert turn.end < middle + 0.3 if turn.track == 0 else turn.start > middle - 0.3


def test_people_who_speak_little_are_told_apart(diarize, tmp_path):
    """A fixed least size of clusters, or a merging of small ones, makes one speaker of them."""
    names = ("1688-142285-0003.flac", "1998-15444-0004.flac", "librivox_ss_0870.mp3")
    names = (*names, "simplicissimus_de.ogg", "sonnet001_en.mp3")
    spoken = [voice_at(MONOLOGUES / name)[8_000:64_000] for name in names]
    parts = [part / np.abs(part).max() / 2 for part in spoken]
    (column,) = diarize(write(tmp_path / "round.wav", *parts))
    edges = np.cumsum([0, *(len(part) / 16_000 for part in parts)])
    assert len(column.result.speakers) == len(parts)
    for index, turn in enumerate(column.result.turns):
        if index not in codes(column) and turn.seconds >= 1:
            inside = np.minimum(turn.end, edges[1:]) - np.maximum(turn.start, edges[:-1])
            assert np.sort(inside)[-2] <= 0.1 * turn.seconds


def test_the_voice_within_a_turn_and_its_margin_are_measured(diarize):
    (column,) = diarize(TALKS / "az_katiesteve.flac")
    kept = [t for n, t in enumerate(column.result.turns) if n not in codes(column) and t.seconds > 3]
    assert kept
    for turn in kept:
        assert 0.45 < turn.voice_similarity < 1
        assert turn.speaker_margin > 0.2


def test_overlapped_speech_is_cut_out_of_turns(diarize, tmp_path):
    first, second = voice("1998-15444-0004.flac"), voice("1688-142285-0003.flac")
    both = np.zeros(len(first) + len(second) - 56_000, dtype=np.float32)
    both[: len(first)] += first
    both[-len(second) :] += second
    (column,) = diarize(write(tmp_path / "overlap.wav", both))
    turns = column.result.turns
    over = [index for index, turn in enumerate(turns) if turn.overlapped]
    assert len({turns[index].speaker for index in over}) == 2
    assert all(codes(column)[index] == "overlap" for index in over)
    for a, b in combinations(turns, 2):
        if not (a.overlapped and b.overlapped):
            assert a.end <= b.start or b.end <= a.start


def test_a_recording_without_speech_is_set_aside(diarize, tmp_path):
    rng, time = np.random.default_rng(1), np.arange(160_000) / 16_000
    columns = diarize(
        write(tmp_path / "noise.wav", rng.normal(0, 0.1, 160_000)),
        write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 1000 * time)),
    )
    assert [(column.result, codes(column)) for column in columns] == [(None, {None: "no_speech"})] * 2


def test_speakers_are_linked_across_windows(diarize, tmp_path):
    whole = TALKS / "dialogue_composed.opus"
    (one,) = diarize(whole)
    (windows,) = diarize(whole, window_minutes=1)
    assert len(one.result.speakers) == len(windows.result.speakers) == 2
    for a, b in zip(one.result.speakers, windows.result.speakers, strict=True):
        assert np.dot(a.embedding, b.embedding) > 0.98
        assert a.seconds == pytest.approx(b.seconds, rel=0.05)


def test_long_turns_are_split_and_short_ones_set_aside(diarize):
    (column,) = diarize(MONOLOGUES / "az_zhcn_long.flac", max_turn=4, min_turn=1.5)
    turns = column.result.turns
    assert max(turn.seconds for turn in turns) <= 4
    assert any(turn.end == after.start for turn, after in pairwise(turns))
    short = {index for index, turn in enumerate(turns) if turn.seconds < 1.5}
    assert codes(column) == dict.fromkeys(short, "too_short")


def test_the_number_of_speakers_can_be_bounded(diarize):
    (most,) = diarize(TALKS / "az_katiesteve.flac", max_speakers=1)
    (fewest,) = diarize(TALKS / "az_katiesteve.flac", min_speakers=3)
    assert len(most.result.speakers) == 1
    assert len(fewest.result.speakers) == 3


def test_results_do_not_depend_on_threads_or_other_recordings(diarize):
    paths = [TALKS / "ami_trn09.flac", MONOLOGUES / "LJ002-0020.wav", TALKS / "az_katiesteve.flac"]
    together = diarize(*paths, threads=3)
    alone = [column for path in reversed(paths) for column in diarize(path)]
    assert together == alone[::-1]


def test_a_companion_file_replaces_the_models(audio_source, decoded, tmp_path):
    path = TALKS / "ami_trn06.flac"
    rttm = Companion("rttm", str(REFERENCE / "ami_trn06.rttm"), "1")
    (recording,) = decoded(path).recordings
    unit = Unit("unit", (replace(recording, companions=(rttm,)),))
    (used,) = stage_of(audio_source, existing="use")(unit).recordings
    (ignored,) = stage_of(audio_source)(unit).recordings
    assert used.diarize.result.source == "rttm"
    assert ignored.diarize.result.source == "model"
    assert {speaker.name for speaker in used.diarize.result.speakers} == {"FEE083", "FEE085", "MEO082"}
    assert error_rate(used.diarize, "ami_trn06", 30) == 0
    assert set(codes(used.diarize).values()) <= {"overlap", "too_short"}


def test_existing_text_is_kept_with_its_turn(audio_source, decoded, tmp_path):
    stm = tmp_path / "talk.stm"
    stm.write_text("talk 1 Katie 0.5 1.5 Good morning, Steve.\ntalk 1 Steve 1.9 3.1 <o,f0> Good morning.\n")
    (recording,) = decoded(TALKS / "az_katiesteve.flac").recordings
    companions = (Companion("stm", str(stm), "1"),)
    (done,) = stage_of(audio_source, existing="use")(
        Unit("u", (replace(recording, companions=companions),))
    ).recordings
    assert [(turn.speaker, turn.text) for turn in done.diarize.result.turns] == [
        ("Katie", "Good morning, Steve."),
        ("Steve", "Good morning."),
    ]


def test_voices_of_synthesized_turns_are_compared_unless_they_are_trusted(audio_source, decoded):
    (recording,) = decoded(TALKS / "ami_trn06.flac").recordings
    turns = (Companion("rttm", str(REFERENCE / "ami_trn06.rttm"), "1"),)
    spoken = Unit("u", (replace(recording, companions=turns, sidecar='{"synthesis": {"spoken": []}}'),))
    checked, trusted = (
        stage_of(audio_source, synthesized=synthesized)(spoken).recordings[0].diarize
        for synthesized in ("check", "trust")
    )
    assert any(turn.voice_similarity is not None for turn in checked.result.turns)
    assert all(turn.voice_similarity is None for turn in trusted.result.turns)
    assert [(turn.start, turn.end, turn.speaker) for turn in trusted.result.turns] == [
        (turn.start, turn.end, turn.speaker) for turn in checked.result.turns
    ]
    assert codes(trusted) == codes(checked)


def test_trust_alone_changes_what_determines_the_voices():
    assert "synthesized" not in DiarizeConfig().content()
    assert DiarizeConfig(synthesized="trust").content()["synthesized"] == "trust"


def test_a_companion_file_of_another_recording_is_refused(audio_source, decoded, tmp_path):
    rttm = tmp_path / "wrong.rttm"
    rttm.write_text("SPEAKER wrong 1 500 3 <NA> <NA> A <NA> <NA>\n")
    (recording,) = decoded(TALKS / "ami_trn05.flac").recordings
    companions = (Companion("rttm", str(rttm), "1"),)
    (done,) = stage_of(audio_source, existing="use")(
        Unit("u", (replace(recording, companions=companions),))
    ).recordings
    (problem,) = done.diarize.problems
    assert problem.code == "bad_companion"
    assert problem.message == "wrong.rttm has speech at 500 s, but the recording ends at 30.0 s"


def test_the_next_companion_is_used_where_the_preferred_one_cannot_be(audio_source, decoded, tmp_path):
    (tmp_path / "talk.stm").write_text("nothing good\n")
    (tmp_path / "talk.rttm").write_text("SPEAKER talk 1 0.5 2 <NA> <NA> Katie <NA> <NA>\nSPEAKER talk\n")
    (recording,) = decoded(TALKS / "az_katiesteve.flac").recordings
    companions = tuple(Companion(kind, str(tmp_path / f"talk.{kind}"), "1") for kind in ("rttm", "stm"))
    unit = Unit("u", (replace(recording, companions=companions),))
    (used,) = stage_of(audio_source, existing="use")(unit).recordings
    assert used.diarize.result.source == "rttm"
    assert [(use.name, use.code) for use in used.diarize.companions] == [
        ("talk.stm", "bad_companion"),
        ("talk.rttm", "used"),
    ]
    assert [(problem.code, problem.line) for problem in used.diarize.problems] == [("bad_line", 2)]
    assert not used.set_aside
    (ignored,) = stage_of(audio_source)(unit).recordings
    assert {use.code for use in ignored.diarize.companions} == {"ignored"}


@pytest.mark.parametrize(
    ("text", "source"), [("0.5\t1.5\tGood morning.\n", "txt"), ("Recorded in spring.\n", "model")]
)
def test_a_text_file_beside_a_recording_counts_if_it_has_labels(
    audio_source, decoded, tmp_path, text, source
):
    (tmp_path / "talk.txt").write_text(text)
    (recording,) = decoded(TALKS / "az_katiesteve.flac").recordings
    unit = Unit("u", (replace(recording, companions=(Companion("txt", str(tmp_path / "talk.txt"), "1"),)),))
    (done,) = stage_of(audio_source, existing="use")(unit).recordings
    assert done.diarize.result.source == source
    assert done.diarize.problems == ()


def test_a_pyannote_pipeline_can_be_used(diarize, tmp_path):
    weights = resolve("package:pyannote-segmentation-3.0").path
    (tmp_path / "config.yaml").write_text(
        "pipeline:\n  name: pyannote.audio.pipelines.VoiceActivityDetection\n"
        f"  params: {{segmentation: {weights}}}\nparams: {{min_duration_on: 0.0, min_duration_off: 0.3}}\n"
    )
    (column,) = diarize(MONOLOGUES / "LJ002-0020.wav", pipeline=f"file:{tmp_path}")
    (speaker,) = column.result.speakers
    assert speaker.seconds > 1
    assert len(speaker.embedding) == 192


def test_a_sortformer_needs_nemo(audio_source, tmp_path):
    (tmp_path / "diar_sortformer.nemo").write_bytes(b"")
    with pytest.raises(
        SetupError, match=r"diar_sortformer\.nemo needs NeMo: pip install 'nemo_toolkit\[asr\]'"
    ):
        stage_of(audio_source, pipeline=f"file:{tmp_path}")


def test_a_directory_without_a_pipeline_is_a_setup_error(audio_source, tmp_path):
    (tmp_path / "readme.txt").write_text("no pipeline")
    with pytest.raises(SetupError, match=r"diarize\.pipeline"):
        stage_of(audio_source, pipeline=f"file:{tmp_path}")


def test_contradictory_settings_are_refused():
    with pytest.raises(ValueError, match="min_speakers 3 is over max_speakers 2"):
        DiarizeConfig(min_speakers=3, max_speakers=2)
    with pytest.raises(ValueError, match="over half of max_turn"):
        DiarizeConfig(min_turn=10, max_turn=12)
