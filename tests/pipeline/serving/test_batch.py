"""Several requests are answered at a time, each as it is alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.serving.model import Limits, ServedModel
from tests.pipeline.tiny_server import SPOKEN, closing_connection, serving

LIMITS = Limits(tokens=4000, seconds=12, megabytes=1)


def asked(number):
    words = " ".join(["well"] * number)
    question = {"role": "user", "content": f"Number {number}, {words}?"}
    return {"messages": [question], "max_tokens": 20 + number, "seed": number}


def content(reply):
    return reply["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def client(answerer, answer_vocoder):
    with serving(ServedModel("tiny", answerer, answer_vocoder, LIMITS, rows=3), max_queue=8) as client:
        yield client


def test_eight_at_once_have_the_answers_that_each_has_alone(client):
    alone = [content(client.ask(**asked(number))) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: content(client.ask(**asked(number))), range(8)))
    assert together == alone
    assert len(set(alone)) == 8


def test_a_short_answer_does_not_wait_for_a_long_one(client):
    with closing_connection(client.open(SPOKEN | {"max_completion_tokens": 4000, "stream": True})) as long:
        response = long.getresponse()
        assert response.readline().startswith(b"data: ")
        assert content(client.ask(**asked(1)))
        assert client.health()["busy"]
    client.until(busy=False)


def test_clients_that_leave_make_room_for_others(client):
    """Many more than there are rows: each must have left its own."""
    for _ in range(4):
        with closing_connection(client.open(SPOKEN | {"max_completion_tokens": 4000})):
            client.until(busy=True)
    client.until(busy=False, waiting=0)
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(lambda number: content(client.ask(**asked(number))), range(3)))


def test_a_failure_of_all_is_told_to_each_and_the_server_goes_on(answerer, answer_vocoder):
    class Failing(ServedModel):
        fails = True

        def step(self):
            if self.fails:
                raise MemoryError
            super().step()

    model = Failing("tiny", answerer, answer_vocoder, LIMITS, rows=2)
    with serving(model) as client, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda number: client.post(asked(number)), range(2))
        assert (first[0], second[0]) == (500, 500)
        Failing.fails = False
        assert content(client.ask(**asked(1)))


def test_more_than_fit_into_batch_and_queue_are_sent_away(answerer, answer_vocoder):
    endless = SPOKEN | {"max_completion_tokens": 4000}
    with serving(ServedModel("tiny", answerer, answer_vocoder, LIMITS, rows=2), max_queue=1) as client:
        open_ones = [client.open(endless) for _ in range(2)]
        client.until(busy=True, waiting=0)
        open_ones.append(client.open(endless))
        client.until(waiting=1)
        status, reply, headers = client.post(asked(1))
        assert (status, reply["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(headers["Retry-After"]) > 0
        for connection in open_ones:
            connection.close()
        client.until(busy=False, waiting=0)
