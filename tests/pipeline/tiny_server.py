"""A server of a tiny model in this process, and a plain HTTP client of it."""

import base64
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Thread

from pipeline.serving.server import create_server
from tests.pipeline.tiny_models import SHORT

TIMEOUT = 120
"""Seconds; generous, for busy machines."""


class Client:
    def __init__(self, port: int) -> None:
        self.port = port
        self.headers: dict[str, str] = {}

    def open(self, body, raw=None, kind="application/json", path="/v1/chat/completions"):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        content = json.dumps(body) if raw is None else raw
        connection.request("POST", path, content, {"Content-Type": kind, **self.headers})
        return connection

    def post(self, body=None, **how):
        """Status, JSON body and headers."""
        with closing_connection(self.open(body, **how)) as connection:
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers

    def ask(self, **body):
        """The JSON body of a successful response."""
        status, reply, _ = self.post(body)
        assert status == 200, reply
        return reply

    def stream(self, **body):
        """The chunks, without the final `[DONE]`."""
        with closing_connection(self.open(body | {"stream": True})) as connection:
            response = connection.getresponse()
            assert (response.status, response.headers["Content-Type"].split(";")[0]) == (
                200,
                "text/event-stream",
            )
            *events, done, _ = response.read().decode().split("\n\n")
        assert done == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def get(self, path):
        with closing_connection(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            connection.request("GET", path, headers=self.headers)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers

    def health(self):
        return json.loads(self.get("/health")[1])

    def until(self, **expected):
        """Wait until /health reports these values."""
        end = time.monotonic() + TIMEOUT
        while not expected.items() <= (health := self.health()).items():
            assert time.monotonic() < end, health
            time.sleep(0.05)


@contextmanager
def closing_connection(connection) -> Iterator[HTTPConnection]:
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def serving(model, max_queue=1, keys=None) -> Iterator[Client]:
    """A server in a thread of this process."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = create_server(model, max_queue, keys)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    client = Client(bound.getsockname()[1])
    client.stop = lambda: (server.handle_exit(signal.SIGTERM, None), thread.join(TIMEOUT))
    try:
        client.until(status="ok")
        yield client
    finally:
        client.stop()
        assert not thread.is_alive()


def question(*files, text=None):
    parts = [] if text is None else [{"type": "text", "text": text}]
    for file in files:
        data = base64.b64encode(file.read_bytes()).decode()
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    return {"role": "user", "content": parts}


def audio_request(data):
    """A question aloud, of whatever is given for base64."""
    part = {"type": "input_audio", "input_audio": {"data": data}}
    return {"messages": [{"role": "user", "content": [part]}]}


def text_request(**more):
    """A written question with other fields."""
    return {"messages": [HELLO]} | more


@contextmanager
def endless(client, streamed=True) -> Iterator[HTTPConnection]:
    """A request whose answer lasts until the client disconnects."""
    body = SPOKEN | {"max_completion_tokens": LONG, "stream": streamed}
    with closing_connection(client.open(body)) as connection:
        if streamed:
            response = connection.getresponse()
            assert response.readline().startswith(b"data: ")
            connection.answer = response
        yield connection


HELLO = {"role": "user", "content": "Hello"}
LONG = 4000
"""Tokens of an answer that lasts longer than any test."""
ASK = {"messages": [question(SHORT)], "max_completion_tokens": 60, "seed": 5}
SPOKEN = ASK | {"modalities": ["text", "audio"]}
