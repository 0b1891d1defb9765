"""Clients that wait, leave or come in vain, and a server that is stopped."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.serving.model import Limits, ServedModel
from tests.pipeline.tiny_server import ASK, LONG, TIMEOUT, endless, serving


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_stops_when_the_client_disconnects(client, streamed):
    with endless(client, streamed):
        client.until(busy=True)
    client.until(busy=False)
    assert client.ask(**ASK)


def test_requests_beyond_the_queue_get_429(client):
    with ThreadPoolExecutor(1) as pool:
        with endless(client):
            second = pool.submit(client.ask, **ASK)
            client.until(busy=True, waiting=1)
            status, reply, headers = client.post(ASK)
            assert (status, reply["error"]["type"]) == (429, "rate_limit_error")
            assert int(headers["Retry-After"]) > 0
        assert second.result(TIMEOUT)["choices"][0]["message"]["content"]
    client.until(busy=False, waiting=0)


def test_a_waiting_client_that_disconnects_leaves_the_queue(client):
    with endless(client):
        with endless(client, streamed=False):
            client.until(waiting=1)
        client.until(waiting=0)
    client.until(busy=False)


def test_a_stopping_server_reports_it_in_streams(answerer, answer_vocoder):
    with (
        serving(ServedModel("tiny", answerer, answer_vocoder, Limits(LONG, 10, 1))) as client,
        endless(client) as stream,
    ):
        client.stop()
        *_, last = stream.answer.read().decode().strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["error"]["message"] == "the server is being stopped"
