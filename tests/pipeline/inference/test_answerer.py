"""Spoken questions into answers: `aqaa-data answer`, and candidates that the preference stage reads."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.inference.candidate_rows import words_of
from pipeline.pack.preferences import sampled_pairs
from pipeline.versions.provenance import MADE_BY, ids_of
from schemas.errors import DataError
from schemas.layout import read
from tests.pipeline.askable import MONOLOGUES, QUESTION, SPEECH, ids_made_by, rewritten


@pytest.fixture
def checkpoint(askable, tmp_path):
    """One to be changed."""
    return Path(shutil.copytree(askable, tmp_path / "model"))


def test_a_version_says_how_its_ids_were_made(version, vocabulary):
    recipe = Recipe.model_validate({"name": "small"})
    assert ids_of(version.manifest) == json.loads(json.dumps(ids_made_by(vocabulary, recipe)))


def test_an_answer_comes_as_lines_of_text_and_codes(command, checkpoint, vocabulary):
    done = command(
        *("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--json", "--max-tokens", 40)
    )
    assert done.code == 0, done.stderr
    asked, *events, whole = map(json.loads, done.stdout.splitlines())
    assert asked["question"] == str(QUESTION)
    assert asked["groups"] > 10
    assert "".join(event.get("text", "") for event in events) == whole["text"]
    codes = [event["codes"] for event in events if "codes" in event]
    assert [code for group in codes for code in group["linguistic"]] == whole["voices"][0]["linguistic"]
    assert whole["reason"] == "length"
    kinds = vocabulary.modality(np.array(whole["ids"]))
    assert (kinds[:6] == 0).all()
    assert kinds[7:17].tolist() == [1, 1, 2, 2, 2] * 2  # behind its marker: the ratio that was trained


def test_the_same_seed_says_the_same_and_people_read_tokens(command, checkpoint):
    ask = ("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--max-tokens", 30, "--seed")
    one, again, other = (command(*ask, seed) for seed in (3, 3, 4))
    assert one.stdout == again.stdout != other.stdout
    assert len(re.findall(r"<audio_\d+>", one.stdout)) >= 10
    assert "tokens" in one.stderr


def test_mode_and_ratio_may_be_others_than_trained(command, checkpoint):
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


def test_candidates_are_read_by_the_preference_stage(command, checkpoint, tmp_path, vocabulary):
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
    given = [
        {"prompt": row["id"], "answer": answer, "rater": "anna", "score": score}
        for row in rows
        for answer, score in scores.items()
    ]
    ratings.write_text("".join(json.dumps(rating) + "\n" for rating in given))
    preferences = {"candidates": [str(out)], "ratings": [str(ratings)]}
    asking = Recipe.model_validate(
        {"name": "pairs", "output": str(tmp_path / "out"), "preferences": preferences}
    )
    found = sampled_pairs(asking, vocabulary, lambda name: pytest.fail(f"{name} is no recording"))
    assert [row.message for row in found.set_aside] == []
    assert len(found.pairs) == 2
    by_id = {answer["id"]: answer for answer in rows[0]["answers"]}
    pair = found.pairs[0]
    system, question, chosen = read(np.concatenate([pair.prompt, pair.chosen]), vocabulary)
    assert system.text == "Be brief."
    assert (
        list(question.codes[0].linguistic)
        == rows[0]["codes"]["linguistic"][: len(question.codes[0].linguistic)]
    )
    assert chosen.text == by_id["seed-6"]["text"].strip()
    assert list(chosen.codes[0].linguistic) == by_id["seed-6"]["codes"]["linguistic"]
    assert pair.record["sidecar"]["sampling"]["temperature"] == 0.7


def test_a_candidate_is_the_answer_of_its_seed(command, checkpoint, tmp_path):
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


def test_what_nobody_has_written_down_is_heard(tmp_path):
    shutil.copy(QUESTION, tmp_path / "question.flac")
    text, language = words_of(str(tmp_path / "question.flac"))
    assert language == "en"
    assert "account of himself" in text.lower()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((QUESTION,), 2, "--tokens-only or --candidates"),
        ((QUESTION, "--candidates", 2), 2, "go together"),
        ((QUESTION, "--candidates", 2, "--out", __file__), 2, "is there already"),
        ((QUESTION, "--candidates", 2, "--out", "no/where.jsonl"), 2, "no folder that there is"),
        ((MONOLOGUES / "nobody.wav", "--tokens-only"), 1, "there is no such file"),
        ((Path(__file__), "--tokens-only"), 1, "test_answerer.py: "),
        ((QUESTION, "--tokens-only", "--top-p", 0), 2, "--top-p"),
    ],
)
def test_what_can_not_be_answered_is_said_in_one_line(command, checkpoint, arguments, code, said):
    done = command("answer", "--checkpoint", checkpoint, *arguments)
    assert done.code == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkpoint_that_can_not_be_asked_is_refused(command, checkpoint, tmp_path):
    def asked(folder):
        done = command("answer", "--checkpoint", folder, "--tokens-only", QUESTION)
        assert done.code == 1
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "there is no such folder" in asked(tmp_path / "nothing")
    rewritten(checkpoint, lambda ids: ids[MADE_BY]["models"].update({SPEECH: "0" * 64}))
    assert "not what it was when the data was built" in asked(checkpoint)
    rewritten(checkpoint, lambda ids: ids[MADE_BY]["vocabulary"].update(tokenizer="package:whisper-tiny-en"))
    assert "name that one with --vocabulary" in asked(checkpoint)
    rewritten(checkpoint, lambda ids: ids.pop(MADE_BY))
    assert "which text tokenizer" in asked(checkpoint)
    (checkpoint / "vocabulary.json").unlink()
    assert "nobody knows what its ids mean" in asked(checkpoint)


def test_a_question_that_leaves_no_room_for_an_answer_is_told(command, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"max_seq_len": 60}))
    done = command("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION)
    assert done.code == 1
    assert "context of 60" in done.stderr


def test_references_stand_in_for_what_a_checkpoint_does_not_say(command, checkpoint):
    rewritten(checkpoint, lambda ids: ids.pop(MADE_BY))
    named = ("--vocabulary", "package:whisper-base", "--tokenizer", SPEECH)
    ask = ("answer", "--checkpoint", checkpoint, "--tokens-only", QUESTION, "--max-tokens", 15)
    assert command(*ask, *named).code == 0


def test_a_question_that_can_not_be_used_stops_no_others(command, checkpoint, tmp_path):
    out = tmp_path / "candidates.jsonl"
    ask = ("answer", "--checkpoint", checkpoint, tmp_path / "gone.wav", QUESTION, "--max-tokens", 15)
    done = command(*ask, "--candidates", 2, "--out", out)
    assert done.code == 1
    assert "gone.wav: there is no such file" in done.stderr
    assert "1 of 2 questions" in done.stderr
    assert len(out.read_text().splitlines()) == 1


def test_a_sidecar_that_is_no_json_is_named(tmp_path):
    (tmp_path / "q.wav.json").write_text("{")
    with pytest.raises(DataError, match=r"q\.wav\.json is no JSON"):
        words_of(str(tmp_path / "q.wav"))
