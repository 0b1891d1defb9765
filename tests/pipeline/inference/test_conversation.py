"""Earlier turns of a conversation: their prompt, and the file that stores them."""

import json

import numpy as np
import pytest

from pipeline.inference.conversation import HISTORY_TOKENS, History, PastTurn, PromptMessage, prompt
from pipeline.inference.tokenize_files import tokenize_files
from schemas.errors import SetupError
from schemas.layout import header, read
from schemas.recording import Codes
from schemas.vocabulary import LayoutOptions, Vocabulary
from tests.pipeline.tiny_models import QUESTION, SHORT, SPEECH

VOICE = Codes((5, 6), (7, 8, 9))


def read_back(messages, vocabulary):
    """The messages read from the ids of a prompt; the last one is empty."""
    return read(np.append(prompt(messages, vocabulary), vocabulary.eot), vocabulary)


def test_a_prompt_is_the_conversation_and_the_header_of_its_answer(vocabulary):
    messages = [
        PromptMessage("system", ("Be brief.",)),
        PromptMessage("human", ("Who?",)),
        PromptMessage("assistant", ("Me.",)),
        PromptMessage("human", ("Say it again: ", VOICE)),
    ]
    ids = prompt(messages, vocabulary)
    assert ids.dtype == np.int32
    head = header("assistant", vocabulary)
    assert ids[-len(head) :].tolist() == head.tolist()
    *before, last = read_back(messages, vocabulary)
    assert [(m.role, m.text) for m in before] == [
        ("system", "Be brief."),
        ("human", "Who?"),
        ("assistant", "Me."),
        ("human", "Say it again: "),
    ]
    assert before[-1].codes == (VOICE,)
    assert (last.role, last.text) == ("assistant", "")


def test_a_prompt_of_the_public_models_has_their_ids(step1_tokenizer):
    """Written down by hand; see `tests/stages/interleave/test_step1_layout.py`."""
    options = LayoutOptions(True, False, True, "the inn")
    vocabulary = Vocabulary.of("step1", step1_tokenizer, options)
    ids = prompt([PromptMessage("human", ("and so", VOICE))], vocabulary)
    system = [4, 40988, 15222, 15, 26262, 37310, 3]
    human = [4, 6540, 6448, 6997, 15, 19996, 26259, 65541, 65542, 66567, 66568, 66569, 3]
    assert ids.tolist() == [1, *system, *human, 4, 6577, 19754, 6574, 20370, 15]


def test_the_oldest_turns_are_dropped_and_the_rest_begins_with_a_human(vocabulary):
    turn = [PromptMessage("human", ("word " * 150,)), PromptMessage("assistant", ("word " * 150,))]
    messages = [PromptMessage("system", ("Be brief.",)), *turn * 6, PromptMessage("human", (VOICE,))]
    kept_messages = read_back(messages, vocabulary)
    assert [m.role for m in kept_messages] == ["system", *["human", "assistant"] * 3, "human", "assistant"]
    kept = sum(len(message.ids(vocabulary)) for message in [*turn * 3])
    assert kept <= HISTORY_TOKENS < kept + len(turn[0].ids(vocabulary)) + len(turn[1].ids(vocabulary))
    long = PromptMessage("human", ("word " * 2000,))
    assert [m.role for m in read_back([*turn, long], vocabulary)] == [
        "human",
        "assistant",
        "human",
        "assistant",
    ]


def test_an_earlier_turn_is_its_text_or_its_audio_if_it_has_no_text(vocabulary):
    assert PastTurn.of(" Me. ", [VOICE]).as_message("assistant") == PromptMessage("assistant", ("Me.",))
    assert PastTurn.of(" ", [VOICE, VOICE]).as_message("human") == PromptMessage("human", (VOICE, VOICE))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a valid turn"),
        ('{"question": {"text": "Who?"}}', "answer"),
        ('{"question": {"text": " "}, "answer": {"text": "Me."}}', "needs `text` or `voices`"),
        ('{"question": {"text": "Who?"}, "answer": {"text": "Me.", "mood": 1}}', "answer.mood"),
        (
            '{"question": {"voices": [{"linguistic": [1, 1024], "semantic": [1]}]}, "answer": {"text": "a"}}',
            "question.voices.0.linguistic.1",
        ),
        (
            '{"question": {"voices": [{"linguistic": [1], "semantic": [1, 2]}]}, "answer": {"text": "a"}}',
            "fewer codes than one group",
        ),
    ],
)
def test_an_invalid_line_is_named(tmp_path, line, why):
    good = '{"question": {"text": "Who?"}, "answer": {"text": "Me."}}'
    (tmp_path / "h.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(SetupError, match=r"h\.jsonl, line 2 is not a? ?valid") as error:
        History.read(tmp_path / "h.jsonl")
    assert why in str(error.value)


def test_an_unusable_file_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"the folder of .* doesn't exist"):
        History.read(tmp_path / "no" / "h.jsonl")
    (tmp_path / "h.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(SetupError, match="can't be read as a conversation"):
        History.read(tmp_path / "h.jsonl")


def test_an_answer_depends_on_earlier_turns(command, tiny_checkpoint, tmp_path):
    """Two runs with one question each and one run with both questions give the same conversation."""
    file = tmp_path / "h.jsonl"
    ask = ("answer", "--checkpoint", tiny_checkpoint, "--tokens-only", "--max-tokens", 30, "--json")
    for question in (SHORT, QUESTION):
        assert command(*ask, question, "--history", file).code == 0
    both = command(*ask, SHORT, QUESTION, "--history", tmp_path / "both.jsonl")
    assert both.code == 0, both.stderr
    kept = file.read_text()
    assert kept == (tmp_path / "both.jsonl").read_text()
    first, second = map(json.loads, kept.splitlines())
    assert first["question"]["text"] == json.loads(SHORT.with_name(f"{SHORT.name}.json").read_text())["text"]
    [tokenized] = tokenize_files([str(SHORT)], SPEECH)
    assert first["question"]["voices"][0]["semantic"] == list(tokenized.codes.semantic)
    whole = json.loads(both.stdout.splitlines()[-1])
    assert (second["answer"]["text"], second["answer"]["voices"]) == (whole["text"], whole["voices"])
    alone = json.loads(command(*ask, QUESTION).stdout.splitlines()[-1])
    assert alone["ids"] != whole["ids"]


def test_an_invalid_conversation_is_reported_before_the_model_is_loaded(command, tmp_path):
    (tmp_path / "h.jsonl").write_text("{\n")
    done = command("answer", "--checkpoint", tmp_path, SHORT, "--text", "--history", tmp_path / "h.jsonl")
    assert done.code == 1
    assert "h.jsonl, line 1 is not valid JSON" in done.stderr
    done = command(
        *("answer", "--checkpoint", tmp_path, SHORT, "--history", tmp_path / "h.jsonl"),
        *("--candidates", 2, "--out", tmp_path / "c.jsonl"),
    )
    assert (done.code, "leave out --history" in done.stderr) == (2, True)
