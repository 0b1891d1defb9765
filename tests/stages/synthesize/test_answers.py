import json
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from pipeline.storage.store import Store
from schemas.chat import parse
from schemas.errors import DataError, SetupError
from stages.budget import Budget
from stages.endpoint import MAX_FAILED_REQUESTS, Endpoint
from stages.replies import Cost, Replies
from stages.synthesize.answers import AnswersConfig, complete, with_answer
from tests.served import Answer, completion, serving

KEY = "sk-very-secret-0123456789"


def config_of(url, **settings):
    return AnswersConfig(
        **({"url": url, "model": "m", "backoff": 0.01, "retries": 2, "timeout": 5} | settings)
    )


def endpoint_of(config, folder):
    return Endpoint(config, Replies(Store(str(folder)), "replies"))


def chat_of(*texts):
    roles = ("user", "assistant")
    return parse(
        {"messages": [{"role": roles[n % 2], "content": t} for n, t in enumerate(texts)]}, "c.jsonl:1"
    )


def ask(config, endpoint, question="How are you?"):
    return with_answer(chat_of(question), config, endpoint).messages[-1].text


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_a_question_is_answered_by_a_valid_api_request(tmp_path, key):
    with serving([completion("Fine, thanks!")]) as server:
        config = config_of(server.url, temperature=0.2, max_tokens=50)
        answered = with_answer(chat_of("How are you?"), config, endpoint_of(config, tmp_path))
    assert [(m.role, m.text) for m in answered.messages] == [
        ("human", "How are you?"),
        ("assistant", "Fine, thanks!"),
    ]
    (request,) = server.seen
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    assert request["body"]["messages"] == [
        {"role": "system", "content": config.answer_prompt},
        {"role": "user", "content": "How are you?"},
    ]
    assert (request["body"]["temperature"], request["body"]["max_tokens"]) == (0.2, 50)


def test_a_written_answer_is_rewritten_for_speech(tmp_path):
    written = chat_of("When is it?", "**Time:** 17:00 CET")
    with serving([completion("It's at five.")]) as server:
        config = config_of(server.url)
        endpoint = endpoint_of(config, tmp_path)
        rewritten = with_answer(written, config, endpoint)
        kept = with_answer(written, config.model_copy(update={"rewrite": False}), endpoint)
    assert rewritten.messages[-1].text == "It's at five."
    assert server.bodies[0]["messages"][0]["content"] == config.rewrite_prompt
    assert server.bodies[0]["messages"][1]["content"] == "**Time:** 17:00 CET"
    assert kept == written
    assert len(server.seen) == 1


def test_equal_requests_are_sent_once(tmp_path):
    with serving([completion("Fine.")]) as server:
        config = config_of(server.url)
        assert ask(config, endpoint_of(config, tmp_path)) == "Fine."
        assert ask(config, endpoint_of(config, tmp_path)) == "Fine."
        ask(config, endpoint_of(config, tmp_path), "And you?")
    assert len(server.seen) == 2


def test_replies_stay_cached_when_the_server_changes_its_address(tmp_path):
    for _ in range(2):
        with serving([completion("Fine.")]) as server:
            config = config_of(server.url)
            assert ask(config, endpoint_of(config, tmp_path)) == "Fine."
    assert server.seen == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Answer(500), "server_error"),
        (Answer(503), "server_error"),
        (Answer(429), "rate_limited"),
        (Answer(200, b"<html>busy</html>"), "bad_reply"),
        (Answer(200, b'{"choices": []}'), "bad_reply"),
        (Answer(200, b'{"choices": [{"message": {"content": null}}]}'), "bad_reply"),
        (Answer(200, b'["wrong"]'), "bad_reply"),
        (Answer(200, completion("Fine.").body, reset=True), "unreachable"),
        (Answer(200, completion("Fine.").body, delay=0.6), "timeout"),
        (Answer(200, completion("Fine.").body, drip=0.1), "timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}-{value.body[:12]!r}",
)
def test_temporary_failures_are_retried_and_permanent_ones_reported(tmp_path, failure, code):
    with serving([failure, failure, completion("Fine.")]) as server:
        config = config_of(server.url, timeout=0.4)
        assert ask(config, endpoint_of(config, tmp_path)) == "Fine."
    assert len(server.seen) == 3
    with serving([failure]) as server:
        config = config_of(server.url, timeout=0.4, retries=1)
        with pytest.raises(DataError, match=r"/v1/chat/completions .*2 tries") as error:
            ask(config, endpoint_of(config, tmp_path / "other"))
    assert error.value.code == code
    assert len(server.seen) == 2


def test_an_unreachable_server_is_reported(tmp_path):
    with serving([completion("Fine.")]) as server:
        pass
    config = config_of(server.url, retries=1)
    with pytest.raises(DataError, match="can't be reached") as error:
        ask(config, endpoint_of(config, tmp_path))
    assert error.value.code == "unreachable"


@pytest.mark.parametrize("wait", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)])
def test_retry_after_is_honoured(tmp_path, wait):
    answers = iter([lambda: Answer(429, headers={"Retry-After": wait()}), lambda: completion("Fine.")])
    with serving(lambda request: next(answers)()) as server:
        config = config_of(server.url)
        assert ask(config, endpoint_of(config, tmp_path)) == "Fine."
    first, second = server.seen
    assert second["at"] - first["at"] >= 0.9


def test_requests_respect_the_rate_limit(tmp_path):
    with serving([completion("Fine.")]) as server:
        config = config_of(server.url, requests_per_minute=300)
        endpoint = endpoint_of(config, tmp_path)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: ask(config, endpoint, f"Question {n}?"), range(4)))
    times = sorted(one["at"] for one in server.seen)
    assert times[-1] - times[0] >= 0.55


def test_a_refused_request_is_not_retried(tmp_path, key):
    refusal = json.dumps({"error": {"message": f"flagged; sent with {KEY}"}}).encode()
    with serving([Answer(400, refusal)]) as server:
        config = config_of(server.url)
        with pytest.raises(DataError, match=r"400: flagged; sent with \*\*\*") as error:
            ask(config, endpoint_of(config, tmp_path))
    assert error.value.code == "refused"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "message"), [(401, "rejected the API key"), (404, "no such service or model")]
)
def test_a_wrong_key_or_address_fails_immediately(tmp_path, key, status, message):
    echo = json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}).encode()
    with serving([Answer(status, echo)]) as server:
        config = config_of(server.url)
        with pytest.raises(SetupError, match=message) as error:
            ask(config, endpoint_of(config, tmp_path))
    assert KEY not in str(error.value)
    assert len(server.seen) == 1


def test_a_url_with_a_secret_is_rejected_without_showing_it(tmp_path):
    for url in ("http://me:hush@host/v1", "http://host/v1?api_key=hush", "host/v1", "file:///v1"):
        with pytest.raises(SetupError) as error:
            endpoint_of(config_of(url), tmp_path)
        assert "hush" not in str(error.value)


def test_the_key_is_not_written_to_any_file(tmp_path, key):
    with serving([completion("Fine.")]) as server:
        config = config_of(server.url)
        ask(config, endpoint_of(config, tmp_path))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in file.read_bytes() or KEY in file.name for file in files)
    assert KEY not in config.model_dump_json()


def test_the_budget_of_requests_includes_retries_and_all_threads(tmp_path):
    def answer(request):
        return Answer(500) if "odd" in request["body"]["messages"][1]["content"] else completion("Fine.")

    def outcome(n):
        try:
            return ask(config, endpoint, f"{'odd' if n % 2 else 'even'} {n}?")
        except DataError as error:
            return error.code

    with serving(answer) as server:
        config = config_of(server.url, budget=Budget(requests=9))
        endpoint = endpoint_of(config, tmp_path)
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(outcome, range(20)))
        assert len(server.seen) == 9 == endpoint.spent.requests
        assert "budget" in outcomes


def test_the_budget_of_tokens_is_not_exceeded_and_includes_cached_replies(tmp_path):
    with serving([completion("Fine.", tokens=100)]) as server:
        config = config_of(server.url, answer_prompt="Short.", max_tokens=100, budget=Budget(tokens=450))
        outcomes = []
        for n in range(6):
            endpoint = endpoint_of(
                config, tmp_path
            )  # a new one each time: the cost is stored with the replies
            try:
                outcomes.append(ask(config, endpoint, f"Question {n}?"))
            except DataError as error:
                outcomes.append(error.code)
    # The fifth might cost its answer of 100, the 17 bytes sent and 16 for each message: 549 in all.
    assert outcomes == ["Fine."] * 4 + ["budget"] * 2
    assert len(server.seen) == 4
    assert endpoint_of(config, tmp_path).spent.tokens == 400


def test_a_reply_without_usage_is_charged_its_maximum_cost(tmp_path):
    with serving([completion("Fine.", tokens=None)]) as server:
        config = config_of(server.url, answer_prompt="Short.", max_tokens=100)
        endpoint = endpoint_of(config, tmp_path)
        ask(config, endpoint, "Hm?")
    assert endpoint.spent == Cost(1, 100 + len("Short.Hm?") + 2 * 16, len("Short.Hm?"))


def test_a_truncated_answer_is_an_error(tmp_path):
    with serving([completion("It is", finish="length")]) as server:
        config = config_of(server.url)
        endpoint = endpoint_of(config, tmp_path)
        for _ in range(2):
            with pytest.raises(DataError) as error:
                ask(config, endpoint)
            assert error.value.code == "cut_short"
    assert len(server.seen) == 1


def test_retries_stop_after_many_failed_requests(tmp_path):
    with serving([Answer(500)]) as server:
        config = config_of(server.url, retries=2)
        endpoint = endpoint_of(config, tmp_path)
        for n in range(MAX_FAILED_REQUESTS + 3):
            with pytest.raises(DataError):
                ask(config, endpoint, f"Question {n}?")
    assert len(server.seen) == 3 * MAX_FAILED_REQUESTS + 3


def test_history_and_system_prompt_are_sent(tmp_path):
    messages = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "A pirate."},
        {"role": "user", "content": "Really?"},
    ]
    with serving([completion("Aye.")]) as server:
        config = config_of(server.url)
        answered = with_answer(parse({"messages": messages}, ""), config, endpoint_of(config, tmp_path))
    (body,) = server.bodies
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][0]["content"].startswith("You are a pirate.\n")
    assert [m.role for m in answered.messages] == ["system", "human", "assistant", "human", "assistant"]


def test_any_conversation_can_be_completed(tmp_path):
    with serving([completion("{}")]) as server:
        config = config_of(server.url)
        endpoint = endpoint_of(config, tmp_path)
        assert complete(chat_of("Judge.").messages, config, endpoint, temperature=0, max_tokens=5) == "{}"
    assert server.bodies[0]["temperature"] == 0
