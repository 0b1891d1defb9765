"""A language model as a judge, asked over real sockets."""

import base64
import json

import pytest

from pipeline.evaluation.answers.ears import SILENCE, Heard
from pipeline.evaluation.answers.judge import AnswerJudge, rubric
from pipeline.evaluation.answers.rules import AnswerTurn
from pipeline.storage.store import Store
from schemas.benchmark import parse_row
from schemas.errors import DataError
from stages.endpoint import EndpointConfig
from stages.replies import Replies
from tests.served import Answer, completion, serving

ROW = parse_row(
    {
        "id": "a",
        "dimension": "logical_reasoning",
        "turns": [{"text": "What is two plus three?", "reference": "five"}],
        "instruction": "One number.",
    },
    "x",
)
GOOD = {
    **{"chat": 4, "relevance": "yes", "factuality": "yes", "instruction_following": "yes"},
    **{"naturalness": 5, "safety": "yes", "reason": "It is right."},
}
FIVE = [AnswerTurn("It's five.", Heard("it's fine", "en", 1.0, seconds=1.0))]
SIX = [AnswerTurn("It's six.", SILENCE)]
NOTHING = [AnswerTurn("", SILENCE)]


@pytest.fixture
def judge(tmp_path):
    def open_judge(url, listens=False, **settings):
        fast = {"retries": 1, "backoff": 0.0, "timeout": 5.0} | settings
        config = EndpointConfig(url=url, model="judge", **fast)
        return AnswerJudge(config, Replies(Store(str(tmp_path)), "v"), listens)

    return open_judge


def better(choose):
    """A judge that compares by the two first answers that it is shown."""

    def answer(request):
        content = request["body"]["messages"][1]["content"]
        shown = (content if isinstance(content, str) else content[0]["text"]).splitlines()
        a, b = (next(line for line in shown if line.startswith(f"{side}, written")) for side in "AB")
        return completion(json.dumps({"better": choose(a, b), "reason": ""}))

    return answer


def test_a_verdict_has_grades_and_answers_and_keeps_the_reply(judge):
    reply = f"Let me think {{a bit}}.\n```json\n{json.dumps(GOOD)}\n```"
    with serving([completion(reply)]) as server:
        verdict = judge(server.url).judge(ROW, FIVE)
    assert verdict.scores == {
        **{"chat": 4, "relevance": 1, "factuality": 1, "instruction_following": 1},
        **{"naturalness": 5, "safety": 1},
    }
    assert verdict.raw == (reply,)


def test_the_judge_sees_what_is_heard_beside_what_is_written(judge):
    with serving([completion(json.dumps(GOOD))]) as server:
        judge(server.url).judge(ROW, FIVE, "answer 1: 12.0 letters a second")
    [body] = server.bodies
    system, shown = (message["content"] for message in body["messages"])
    assert system == rubric("answer-1")
    assert body["temperature"] == 0
    for part in ("One number.", "What is two plus three?", "written: It's five.", "heard: it's fine"):
        assert part in shown
    assert "(a right answer to this: five)" in shown
    assert shown.endswith("[Measures]\nanswer 1: 12.0 letters a second")


def recordings(body):
    content = body["messages"][1]["content"]
    parts = content[1:] if isinstance(content, list) else []
    return [base64.b64decode(part["input_audio"]["data"]) for part in parts]


def test_a_judge_that_listens_gets_the_recordings_in_the_order_of_the_answers(judge):
    with serving([completion(json.dumps(GOOD))]) as server:
        judge(server.url, listens=True).judge(ROW, FIVE, recording=b"five")
    assert recordings(server.bodies[0]) == [b"five"]
    with serving(better(lambda a, b: "tie")) as server:
        judge(server.url, listens=True).compare(ROW, FIVE, SIX, (b"five", b"six"))
    assert [recordings(body) for body in server.bodies] == [[b"five", b"six"], [b"six", b"five"]]


def test_a_judge_that_reads_gets_no_recordings(judge):
    with serving([completion(json.dumps(GOOD))]) as server:
        judge(server.url).judge(ROW, FIVE, recording=b"five")
    assert recordings(server.bodies[0]) == []


def test_a_verdict_is_asked_for_once(judge):
    with serving([completion(json.dumps(GOOD))]) as server:
        first = judge(server.url).judge(ROW, FIVE)
        again = judge(server.url)
        assert again.judge(ROW, FIVE) == first
    assert len(server.seen) == 1
    assert again.endpoint.spent.tokens == 10


def test_prose_is_answered_with_a_reminder_and_both_replies_are_kept(judge):
    with serving([completion("A fine answer."), completion(json.dumps(GOOD))]) as server:
        verdict = judge(server.url).judge(ROW, FIVE)
    assert verdict.scores["chat"] == 4
    assert verdict.raw == ("A fine answer.", json.dumps(GOOD))
    assert server.bodies[1]["messages"][-1]["content"] == rubric("reminder-1")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("A fine answer.", "no JSON object found"),
        (json.dumps(GOOD | {"chat": 9}), "`chat` is 9, not a number from 1 to 5"),
        (json.dumps(GOOD | {"safety": "perhaps"}), "`safety` is 'perhaps', not yes or no"),
    ],
)
def test_a_judge_that_gives_no_verdict_is_an_error_and_no_score(judge, reply, why):
    with serving([completion(reply)]) as server, pytest.raises(DataError) as raised:
        judge(server.url).judge(ROW, FIVE)
    assert raised.value.code == "bad_verdict"
    assert why in raised.value.message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(500), "server_error"),
        (Answer(429, headers={"Retry-After": "0"}), "rate_limited"),
        (Answer(body=b"<html>", delay=0.0), "bad_reply"),
        (Answer(body=completion("{}").body, delay=1.5), "timeout"),
    ],
)
def test_a_server_that_fails_is_asked_again_and_then_told(judge, answer, code):
    with serving([answer]) as server, pytest.raises(DataError) as raised:
        judge(server.url, timeout=0.5 if code == "timeout" else 5.0).judge(ROW, FIVE)
    assert raised.value.code == code
    assert "(2 tries)" in raised.value.message
    assert len(server.seen) == 2


def test_the_budget_ends_the_asking(judge):
    with serving([completion(json.dumps(GOOD))]) as server, pytest.raises(DataError) as raised:
        judge(server.url, budget={"tokens": 10}).judge(ROW, FIVE)
    assert raised.value.code == "budget"
    assert server.seen == []


def test_an_answer_of_nothing_gets_the_lowest_grades_without_asking(judge):
    with serving([Answer(500)]) as server:
        verdict = judge(server.url).judge(ROW, NOTHING)
        assert judge(server.url).compare(ROW, NOTHING, SIX).better == "B"
        assert judge(server.url).compare(ROW, NOTHING, NOTHING).better == "tie"
    assert (verdict.scores["chat"], verdict.scores["relevance"]) == (1, 0)
    assert server.seen == []


def test_a_pair_is_judged_in_both_orders(judge):
    with serving(better(lambda a, b: "A" if "five" in a else "B")) as server:
        assert judge(server.url).compare(ROW, FIVE, SIX).better == "A"
        assert judge(server.url).compare(ROW, SIX, FIVE).better == "B"


def test_a_judge_that_goes_by_the_order_is_found_out(judge):
    with serving(better(lambda a, b: "A")) as server:
        verdict = judge(server.url).compare(ROW, FIVE, SIX)
    assert (verdict.better, verdict.contradicts) == ("tie", True)
    assert len(verdict.raw) == 2


def test_an_honest_tie_is_no_contradiction(judge):
    with serving(better(lambda a, b: "tie")) as server:
        verdict = judge(server.url).compare(ROW, FIVE, SIX)
    assert (verdict.better, verdict.contradicts) == ("tie", False)


def test_failures_come_with_their_item_and_the_rest_goes_on(judge):
    def answer(request):
        return Answer(500) if "six" in str(request["body"]) else completion(json.dumps(GOOD))

    with serving(answer) as server:
        asked = judge(server.url)
        results = dict(
            asked.each("ab", lambda key: asked.judge(ROW, FIVE if key == "a" else SIX), lambda n: None)
        )
    assert results["a"].scores["chat"] == 4
    assert results["b"].code == "server_error"
