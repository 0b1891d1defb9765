"""Rows of candidates as tasks: audio in the folder of the rows only, gold questions, rows of no use."""

import json

import numpy as np
import pytest

from pipeline.inference.candidate_rows import candidate_row
from pipeline.inference.tokenize_files import Tokenized
from pipeline.rating.tasks import read_tasks
from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.recording import Codes
from stages.preferences.ratings import read_rating
from tests.pipeline.rating.rows import answer, row, write_rows, write_tone


def test_each_answer_is_scored_and_each_pair_compared(tmp_path):
    rows = [row("p1", answer("b"), answer("a"), answer("c")), row("p2", answer("x"))]
    file = write_rows(tmp_path / "c.jsonl", rows)
    scored, unused = read_tasks([file], choose=False)
    assert [(task.prompt, task.ids) for task in scored] == [
        ("p1", ("a",)),
        ("p1", ("b",)),
        ("p1", ("c",)),
        ("p2", ("x",)),
    ]
    assert unused == []
    compared, unused = read_tasks([file], choose=True)
    assert [task.ids for task in compared] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(one.where, one.error.code) for one in unused] == [("c.jsonl:2", "bad_candidates")]


def test_sampled_candidates_are_tasks(tmp_path):
    """`answer --candidates` writes codes without audio: they are shown as text."""
    from stages.train.sampling import Answer

    codes = Codes((Code(1), Code(2)), (Code(1), Code(2), Code(3)))
    answers = {seed: Answer(np.array([], np.int32), f"Answer {seed}.", (codes,), "end") for seed in (0, 1)}
    made = candidate_row(
        Tokenized("q.wav", 0.12, codes, ()), "When?", "Be brief.", answers, {"language": "en"}
    )
    tasks, unused = read_tasks([write_rows(tmp_path / "c.jsonl", [made])], choose=False)
    assert unused == []
    assert [(task.ids, task.answers[0].unheard) for task in tasks] == [
        (("seed-0",), True),
        (("seed-1",), True),
    ]
    assert [message.role for message in tasks[0].messages] == ["system", "human"]


@pytest.mark.parametrize(
    ("broken", "code", "says"),
    [
        (answer("a", audio="../secret.wav"), "audio_outside", "not in the folder of the rows"),
        (answer("a", audio="link.wav"), "audio_outside", "not in the folder"),
        (answer("a", audio="folder/secret.wav"), "audio_outside", "not in the folder"),
        (answer("a", audio="/etc/hostname"), "audio_outside", "not in the folder"),
        (answer("a", audio="gone.wav"), "missing_audio", "gone.wav, is not beside the rows"),
        (answer("a", audio="s3://bucket/a.wav"), "missing_audio", "not beside the rows"),
        (answer("a", audio="c.jsonl"), "audio_type", "browsers can't play"),
        (answer("a", audio=7), "bad_candidates", "not the name of a file"),
        (answer("a", text=" "), "bad_candidates", "neither `text` nor `audio`"),
        (answer("a", gold=6), "bad_candidates", "`gold` of answer a is 6"),
        (answer("a", gold=True), "bad_candidates", "`gold` of answer a is True"),
        ({"text": "no id"}, "bad_candidates", "no `id`"),
        (answer("b"), "bad_candidates", "two answers have one id"),
        ("text", "bad_candidates", "no object"),
    ],
)
def test_a_row_of_no_use_is_told_with_its_line_and_the_others_are_used(tmp_path, broken, code, says):
    folder = tmp_path / "in"
    folder.mkdir()
    write_tone(tmp_path / "secret.wav", 440)
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "folder").symlink_to(tmp_path)
    file = write_rows(folder / "c.jsonl", [row("p1", answer("b"), broken), row("p2", answer("a"))])
    tasks, unused = read_tasks([file], choose=False)
    assert [task.prompt for task in tasks] == ["p2"]
    ((where, error),) = ((one.where, one.error) for one in unused)
    assert (where, error.code) == ("c.jsonl:1", code)
    assert says in str(error)


def test_a_row_that_ends_with_an_answer_is_told(tmp_path):
    answered = row("p1", answer("a"))
    answered["messages"] = [*answered["messages"], {"role": "assistant", "content": "At noon."}]
    _, [unused] = read_tasks([write_rows(tmp_path / "c.jsonl", [answered])], choose=False)
    assert str(unused.error) == "the last of `messages` is not the human's"


def test_lines_that_are_no_rows_are_told(tmp_path):
    file = tmp_path / "c.jsonl"
    good = json.dumps(row("p1", answer("a")))
    file.write_text(f'{good}\n{good}\n{{half\n[]\n{{"id": "p2", "messages": []}}\n')
    tasks, unused = read_tasks([file], choose=False)
    assert len(tasks) == 1
    assert [(one.where, one.error.code) for one in unused] == [
        ("c.jsonl:2", "prompt_twice"),
        ("c.jsonl:3", "bad_json"),
        ("c.jsonl:4", "bad_chat"),
        ("c.jsonl:5", "bad_chat"),
    ]
    with pytest.raises(SetupError, match="no such file"):
        read_tasks([tmp_path / "gone.jsonl"], choose=False)


def test_gold_questions(tmp_path):
    rows = [row("p1", answer("a", gold=5), answer("b", gold=2), answer("c"), answer("d", gold=5))]
    file = write_rows(tmp_path / "c.jsonl", rows)
    scored = {task.ids: task for task in read_tasks([file], choose=False)[0]}
    assert [ids for ids, task in scored.items() if task.is_gold] == [("a",), ("b",), ("d",)]

    def right(task, **said):
        return task.is_right(read_rating({"prompt": "p1", "rater": "anna", **said}))

    given = [right(scored["b",], answer="b", score=score) for score in range(1, 6)]
    assert given == [True, True, True, False, False]
    compared = {task.ids: task for task in read_tasks([file], choose=True)[0]}
    assert [ids for ids, task in compared.items() if task.is_gold] == [("a", "b"), ("b", "d")]
    choices = [right(compared["a", "b"], answers=["a", "b"], choice=choice) for choice in ("a", "b", None)]
    assert choices == [True, False, False]
