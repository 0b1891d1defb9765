"""Rows of answers with audio, and a running page of raters."""

import json
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import numpy as np
import soundfile

from pipeline.rating.access import Access
from pipeline.rating.app import create_rating_server
from pipeline.rating.session import RatingSession
from pipeline.rating.tasks import read_tasks
from pipeline.storage.saved_rows import SavedRows

TIMEOUT = 60
"""Seconds; generous, for busy machines."""


def write_tone(file: Path, hertz: float) -> str:
    """Half a second of a tone; returns the name of its file."""
    samples = 0.2 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16000)
    soundfile.write(file, samples, 16000)
    return file.name


def row(prompt: str, *answers: dict, **fields) -> dict:
    return {
        "id": prompt,
        "messages": [{"role": "user", "content": f"What of {prompt}?"}],
        "answers": answers,
    } | fields


def answer(id: str, **fields) -> dict:
    return {"id": id, "text": f"Text of {id}."} | fields


def write_rows(file: Path, rows: Sequence[dict]) -> Path:
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return file


def token_of(rater: str) -> str:
    return f"secret-of-{rater}-0123456789"


OVERVIEW = "secret-of-the-overview"


@dataclass
class RatingPage:
    url: str
    session: RatingSession

    def ask(self, method: str, path: str, token: str | None, body=None) -> tuple[int, bytes, dict]:
        """Status, content and headers of a response."""
        with closing(HTTPConnection(self.url.split("/")[2], timeout=TIMEOUT)) as connection:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            content = body if isinstance(body, bytes | None) else json.dumps(body)
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read(), dict(response.headers)

    def get(self, path: str, rater: str = "anna"):
        status, content, _ = self.ask("GET", path, token_of(rater))
        assert status == 200, content
        return json.loads(content)

    def put(self, task: str, rater: str = "anna", **verdict):
        status, content, _ = self.ask("PUT", f"/api/tasks/{task}", token_of(rater), verdict)
        assert status == 200, content
        return json.loads(content)

    def overview(self):
        return json.loads(self.ask("GET", "/api/state", OVERVIEW)[1])


@contextmanager
def rating_page(rows: Path, out: Path, *raters: str, choose: bool = False) -> Iterator[RatingPage]:
    tasks, _ = read_tasks([rows], choose)
    ratings = SavedRows(out, "rate", "rating")
    session = RatingSession(tasks, raters, ratings)
    access = Access({rater: token_of(rater) for rater in raters}, OVERVIEW)
    server = create_rating_server(session, access)
    bound = socket.create_server(("127.0.0.1", 0))
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield RatingPage(f"http://127.0.0.1:{bound.getsockname()[1]}/", session)
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(TIMEOUT)
        ratings.close()
