"""`aqaa-data answer` in text and tokens, and candidates for the preferences stage."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.config.recipe import Recipe
from pipeline.inference.candidate_rows import question_text
from pipeline.pack.preferences import sampled_pairs
from pipeline.rating.tasks import read_tasks
from pipeline.versions.provenance import MADE_BY, ids_of
from schemas.errors import DataError
from schemas.layout import read
from tests.pipeline.tiny_models import MONOLOGUES, QUESTION, SPEECH, change_vocabulary, described_ids


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """A copy that the test may change."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))


def test_a_manifest_describes_how_its_ids_were_made(version, vocabulary):
    recipe = Recipe.model_validate({"name": "small"})
    assert ids_of(version.manifest) == json.loads(json.dumps(described_ids(vocabulary, recipe)))


def test_json_lines_stream_text_and_codes(command, checkpoint, vocabulary):
    done = command(
        *("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--json", "--max-tokens", 40)
    )
    assert done.code == 0, done.stderr
    question, *events, whole = map(json.loads, done.stdout.splitlines())
    assert question["question"] == str(QUESTION)
    assert question["groups"] > 10
    assert "".join(event.get("text", "") for event in events) == whole["text"]
    codes = [event["codes"] for event in events if "codes" in event]
    assert [code for group in codes for code in group["linguistic"]] == whole["voices"][0]["linguistic"]
    assert whole["reason"] == "length"
    kinds = vocabulary.modality(np.array(whole["ids"]))
    assert (kinds[:6] == 0).all()
    assert kinds[7:17].tolist() == [1, 1, 2, 2, 2] * 2  # after its marker, in the ratio it was trained on


def test_a_seed_repeats_an_answer_and_tokens_are_printed(command, checkpoint):
    ask = ("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--max-tokens", 30, "--seed")
    one, again, other = (command(*ask, seed) for seed in (3, 3, 4))
    assert one.stdout == again.stdout != other.stdout
    assert len(re.findall(r"<audio_\d+>", one.stdout)) >= 10
    assert "tokens" in one.stderr


def test_mode_and_ratio_override_those_of_training(command, checkpoint):
    ask = ("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--max-tokens", 20, "--json")
    text = json.loads(command(*ask, "--mode", "text_only").stdout.splitlines()[-1])
    assert text["text"]
    assert text["voices"] == []
    audio = json.loads(command(*ask, "--mode", "audio_only", "--temperature", 0).stdout.splitlines()[-1])
    assert audio["text"] == ""
    assert len(audio["voices"]) == 1
    assert command(*ask, "--ratio", "0:15").code == 2
    cut = command(*ask, "--ratio", "10:16")
    assert cut.code == 2
    assert "[10, 15] or [10, 20]" in cut.stderr


def test_the_preferences_stage_reads_candidates(command, checkpoint, tmp_path, vocabulary):
    questions = [tmp_path / "one.flac", tmp_path / "two.wav"]
    for question, recording in zip(questions, (QUESTION, MONOLOGUES / "LJ002-0020.wav"), strict=True):
        shutil.copy(recording, question)
        question.with_name(f"{question.name}.json").write_text(json.dumps({"text": "Who is there?"}))
    out = tmp_path / "candidates.jsonl"
    sample = ("--max-tokens", 30, "--system", "Be brief.", "--candidates", 3, "--out", out)
    done = command("answer", "--checkpoint", checkpoint, *questions, *sample, "--seed", 5)
    assert done.code == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == list(map(str, questions))
    assert [answer["id"] for answer in rows[0]["answers"]] == ["seed-5", "seed-6", "seed-7"]
    ratings = tmp_path / "ratings.jsonl"
    scores = {"seed-5": 2, "seed-6": 5, "seed-7": 1}
    rows_of_ratings = [
        {"prompt": row["id"], "answer": answer, "rater": "anna", "score": score}
        for row in rows
        for answer, score in scores.items()
    ]
    ratings.write_text("".join(json.dumps(rating) + "\n" for rating in rows_of_ratings))
    preferences = {"candidates": [str(out)], "ratings": [str(ratings)]}
    recipe = Recipe.model_validate(
        {"name": "pairs", "output": str(tmp_path / "out"), "preferences": preferences}
    )
    result = sampled_pairs(recipe, vocabulary, lambda name: pytest.fail(f"{name} is not a recording"))
    assert [row.message for row in result.set_aside] == []
    assert len(result.pairs) == 2
    by_id = {answer["id"]: answer for answer in rows[0]["answers"]}
    pair = result.pairs[0]
    system, question, chosen = read(np.concatenate([pair.prompt, pair.chosen]), vocabulary)
    assert system.text == "Be brief."
    assert (
        list(question.codes[0].linguistic)
        == rows[0]["codes"]["linguistic"][: len(question.codes[0].linguistic)]
    )
    assert chosen.text == by_id["seed-6"]["text"].strip()
    assert list(chosen.codes[0].linguistic) == by_id["seed-6"]["codes"]["linguistic"]
    assert pair.record["sidecar"]["sampling"]["temperature"] == 0.7


def test_a_candidate_equals_the_single_answer_of_its_seed(command, checkpoint, tmp_path):
    out = tmp_path / "candidates.jsonl"
    ask = ("answer", "--checkpoint", checkpoint, "--max-tokens", 25, QUESTION)
    assert command(*ask, "--candidates", 2, "--out", out, "--seed", 1).code == 0
    (row,) = map(json.loads, out.read_text().splitlines())
    alone = json.loads(command(*ask, "--tokens-only", "--json", "--seed", 2).stdout.splitlines()[-1])
    assert row["answers"][1]["text"] == alone["text"]
    assert (
        row["messages"][-1]["content"]
        == json.loads(QUESTION.with_name(f"{QUESTION.name}.json").read_text())["text"]
    )


def test_a_question_without_written_text_is_transcribed(tmp_path):
    shutil.copy(QUESTION, tmp_path / "question.flac")
    text, language = question_text(str(tmp_path / "question.flac"))
    assert language == "en"
    assert "account of himself" in text.lower()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((QUESTION,), 2, "--tokens-only or --candidates"),
        ((QUESTION, "--candidates", 2), 2, "must be given together"),
        ((QUESTION, "--candidates", 2, "--out", __file__), 2, "already exists"),
        (
            (QUESTION, "--candidates", 2, "--out", "no/where.jsonl"),
            2,
            "the folder of no/where.jsonl doesn't exist",
        ),
        ((MONOLOGUES / "nobody.wav", "--tokens-only"), 1, "there is no such file"),
        ((Path(__file__), "--tokens-only"), 1, "test_answerer.py: "),
        ((QUESTION, "--tokens-only", "--top-p", 0), 2, "--top-p"),
    ],
)
def test_errors_name_the_cause_without_a_traceback(command, checkpoint, arguments, code, message):
    done = command("answer", "--checkpoint", checkpoint, *arguments)
    assert done.code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unusable_checkpoint_is_refused(command, checkpoint, tmp_path):
    def error_of(folder):
        done = command("answer", "--checkpoint", folder, "--tokens-only", QUESTION)
        assert done.code == 1
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "there is no such folder" in error_of(tmp_path / "nothing")
    change_vocabulary(checkpoint, lambda ids: ids[MADE_BY]["models"].update({SPEECH: "0" * 64}))
    assert "has changed since the data was built" in error_of(checkpoint)
    change_vocabulary(
        checkpoint, lambda ids: ids[MADE_BY]["vocabulary"].update(tokenizer="package:whisper-tiny-en")
    )
    assert "give that one with --vocabulary" in error_of(checkpoint)
    change_vocabulary(checkpoint, lambda ids: ids.pop(MADE_BY))
    assert "doesn't name its text tokenizer" in error_of(checkpoint)
    (checkpoint / "vocabulary.json").unlink()
    assert "the meaning of its ids is unknown" in error_of(checkpoint)


def test_a_question_that_leaves_no_room_for_an_answer_is_refused(command, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"max_seq_len": 60}))
    done = command("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION)
    assert done.code == 1
    assert "context of 60" in done.stderr


def test_references_replace_what_a_checkpoint_does_not_name(command, checkpoint):
    change_vocabulary(checkpoint, lambda ids: ids.pop(MADE_BY))
    named = ("--vocabulary", "package:whisper-base", "--tokenizer", SPEECH)
    ask = ("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--max-tokens", 15)
    assert command(*ask, *named).code == 0


def test_an_unusable_question_does_not_stop_the_others(command, checkpoint, tmp_path):
    out = tmp_path / "candidates.jsonl"
    ask = ("answer", "--checkpoint", checkpoint, tmp_path / "gone.wav", QUESTION, "--max-tokens", 15)
    done = command(*ask, "--candidates", 2, "--out", out)
    assert done.code == 1
    assert "gone.wav: there is no such file" in done.stderr
    assert "1 of 2 questions" in done.stderr
    assert len(out.read_text().splitlines()) == 1


def test_a_sidecar_that_is_not_json_is_named(tmp_path):
    (tmp_path / "q.wav.json").write_text("{")
    with pytest.raises(DataError, match=r"q\.wav\.json is not valid JSON"):
        question_text(str(tmp_path / "q.wav"))


def test_raters_get_the_audio_of_candidates(command, checkpoint, vocoder, tmp_path):
    question = tmp_path / "q.flac"
    shutil.copy(QUESTION, question)
    question.with_name("q.flac.json").write_text(json.dumps({"text": "Who is there?"}))
    out = tmp_path / "candidates.jsonl"
    ask = (
        "answer",
        "--checkpoint",
        checkpoint,
        question,
        "--max-tokens",
        40,
        "--candidates",
        2,
        "--out",
        out,
    )
    done = command(*ask, "-o", tmp_path / "audio", "--vocoder", vocoder)
    assert done.code == 0, done.stderr
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["audio"] == "q.flac"
    assert [one["audio"] for one in row["answers"]] == ["audio/q-seed-0.wav", "audio/q-seed-1.wav"]
    tasks, unused = read_tasks([out], choose=True)
    assert unused == []
    assert [one.audio.name for one in tasks[0].answers] == ["q-seed-0.wav", "q-seed-1.wav"]
    groups = len(row["answers"][0]["codes"]["linguistic"]) // 2
    heard = soundfile.info(tmp_path / "audio" / "q-seed-0.wav")
    assert heard.duration == pytest.approx(groups * 0.12, abs=0.05)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-o", "{tmp}/elsewhere"), "is not in the folder of"),
        (("-o", "-"), "the audio of candidates goes to a folder"),
        (("-o", "{tmp}/rows/audio", "--stream"), "the audio of candidates goes to a folder"),
        (("--text",), "leave out --text"),
    ],
)
def test_where_the_audio_of_candidates_can_not_go_is_told(command, tmp_path, options, says):
    (tmp_path / "rows").mkdir()
    options = [option.format(tmp=tmp_path) for option in options]
    named = ("--candidates", 2, "--out", tmp_path / "rows" / "c.jsonl")
    done = command("answer", "--checkpoint", tmp_path, QUESTION, *named, *options)
    assert (done.code, says in done.stderr) == (2, True), done.stderr
