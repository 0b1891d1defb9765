"""Corrected turns: what a person heard takes the place of what was recognised, wherever pack uses it."""

import json
import tarfile

import pytest

from pipeline.pack.corrections import corrected_turns, retimed
from pipeline.versions.reader import Reference, open_version
from schemas.recording import Word
from schemas.turn import Uncorrected
from stages.select import SelectConfig, TurnCorrection, TurnMark, select
from stages.synthesize.checks import as_written
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn, two_who_talk

WORDS = (Word(0.0, 0.5, " I", 0.9), Word(0.5, 1.0, " have", 0.9), Word(1.2, 2.0, " lived", 0.8))


def correct(turn, start=0.0, end=4.0, **heard):
    mark = TurnMark(recording=turn.recording, start=start, end=end, corrected=TurnCorrection(**heard))
    (corrected,) = corrected_turns([turn], SelectConfig(marks=(mark,)))
    return corrected


def test_the_text_takes_the_place_of_the_recognised_one_and_the_turn_says_what_that_was():
    turn = correct(a_turn(text="I have lift", words=WORDS), text="  I have\nlived  ", language="de")
    assert (turn.transcript.text, turn.transcript.language) == ("I have lived", "de")
    assert turn.transcript.source == "person"
    assert turn.corrected_from == Uncorrected(text="I have lift", language="en")


def test_what_a_recogniser_thought_of_the_old_text_is_no_reason_against_the_new_one():
    unsure = a_turn(text="mumble", average_log_probability=-3.0, no_speech_probability=0.9, longest_word=60)
    assert select(unsure, SelectConfig()).code == "no_speech_likely"
    assert select(correct(unsure, text="I have lived here"), SelectConfig()) is None


def test_personal_data_and_speed_are_those_of_the_corrected_text():
    assert select(correct(a_turn(), text="write to a@example.com please"), SelectConfig(pii=True)).code == (
        "personal_data"
    )
    assert correct(a_turn(speech_share=0.5), text="one two").assessment.words_per_second == 1.0


def test_another_speaker_has_no_certainty_of_the_former_one():
    turn = correct(a_turn(speaker="A"), speaker="B")
    assert (turn.turn.speaker, turn.turn.speaker_margin) == ("B", None)
    assert turn.corrected_from == Uncorrected(speaker="A")
    assert turn.transcript == a_turn().transcript


def test_what_a_person_heard_counts_more_than_what_was_to_be_spoken():
    spoken = a_turn(text="read aloud", sidecar={"synthesis": {}})
    assert as_written(correct(spoken, text="red aloud")).transcript.text == "red aloud"


@pytest.mark.parametrize(
    ("place", "holds"), [((0.2, 4.2), True), ((0.0, 4.3), False), ((0.5, 4.0), False), ((7.0, 11.0), False)]
)
def test_a_correction_holds_only_where_the_turn_has_the_same_ends(place, holds):
    turn = correct(a_turn(), *place, text="something else")
    assert (turn.corrected_from is not None) == holds


def test_a_turn_without_transcript_stays_without():
    turn = a_turn(transcript=False)
    assert correct(turn, text="something") == turn


def times(text, words=WORDS):
    return [(word.text.strip(), round(word.start, 2), round(word.end, 2)) for word in retimed(text, words)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("We have lived", [("We", 0.0, 0.5), ("have", 0.5, 1.0), ("lived", 1.2, 2.0)]),
        ("I lived", [("I", 0.0, 0.5), ("lived", 1.2, 2.0)]),
        (
            "I have lived here",
            [("I", 0.0, 0.5), ("have", 0.5, 1.0), ("lived", 1.2, 1.64), ("here", 1.64, 2.0)],
        ),
        ("Oh I have lived", [("Oh", 0.0, 0.33), ("I", 0.33, 0.5), ("have", 0.5, 1.0), ("lived", 1.2, 2.0)]),
        ("你好", [("你", 0.0, 1.0), ("好", 1.0, 2.0)]),
    ],
)
def test_words_that_stayed_keep_their_times_and_others_share_those_of_what_they_replace(text, found):
    assert times(text) == found


def test_without_times_of_words_there_are_none_after_a_correction():
    assert retimed("anything", ()) == ()


def test_the_words_of_a_corrected_text_are_the_text():
    assert (
        "".join(word.text for word in retimed("We have all lived here.", WORDS)) == "We have all lived here."
    )


def built(folder, *lines):
    """(version, samples by key, rows of turns by index) of a call, with a file of marks of these lines."""
    call = two_who_talk("call.wav", 4, lambda n: {"text": f"this is sentence number {n} of the call"})
    (folder / "marks.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    families = {"families": ["asr", "continuation", "aqtaa"]}
    plan = planned(folder, {"call.wav": call}, compose=families, select={"marks": "marks.jsonl"})
    version = packed(plan).version
    opened = open_version(Reference.parse(f"{folder}/out/given@{version}"))
    samples = {}
    for shard in sorted((folder / "out/given/versions" / version / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    samples[member.name] = json.load(tar.extractfile(member))
    with opened.table("turns") as table:
        return version, samples, {row["index"]: row for row in table.to_table().to_pylist()}


def line(index, recording="call.wav", **fields):
    return {"recording": recording, "track": 0, "start": 5.0 * index, "end": 5.0 * index + 4.5} | fields


def test_every_sample_of_the_next_version_has_the_corrected_text_and_says_what_it_was(tmp_path):
    before, samples, _ = built(tmp_path)
    wrong, right = "this is sentence number 1 of the call", "this is what was really said"
    assert wrong in json.dumps(samples)
    after, samples, rows = built(
        tmp_path,
        line(1, corrected={"text": "an earlier try"}),
        line(1, corrected={"text": right}),
        line(0, recording="gone.wav", corrected={"text": "of a recording that is no longer there"}),
    )
    assert after != before
    turns = [turn for sample in samples.values() for turn in sample["turns"] if turn["index"] == 1]
    assert turns
    assert {turn["transcript"]["text"] for turn in turns} == {right}
    assert {turn["corrected_from"]["text"] for turn in turns} == {wrong}
    messages = json.dumps([sample["messages"] for sample in samples.values()])
    assert right in messages
    assert wrong not in messages
    assert rows[1]["text"] == rows[1]["transcript"]["text"] == right
    assert rows[1]["corrected_from"] == {"text": wrong, "speaker": None, "language": None}
    assert rows[0]["corrected_from"] is None
    removed, _, _ = built(tmp_path, line(1, corrected={"text": right}), line(1, mark=None))
    assert removed == before


def test_a_question_and_its_answer_are_found_by_the_corrected_speakers(tmp_path):
    _, samples, _ = built(tmp_path)
    pairs = {key for key, sample in samples.items() if sample["family"] == "aqtaa"}
    _, samples, rows = built(tmp_path, line(1, corrected={"speaker": "A"}))
    assert rows[1]["speaker"] == "A"
    kept = {key for key, sample in samples.items() if sample["family"] == "aqtaa"}
    assert any("-00000-00001-" in key for key in pairs)
    assert not any("-00000-00001-" in key for key in kept)
