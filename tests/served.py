"""A local HTTP server that gives prepared answers to requests."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    """Seconds between the bytes of the body."""
    reset: bool = False
    """Close the connection after half of the body."""


@dataclass
class LocalServer:
    url: str
    seen: list[dict[str, Any]]
    """The requests so far: path, headers, body and time of each."""

    @property
    def bodies(self) -> list[Any]:
        return [request["body"] for request in self.seen]


def completion(text: str, tokens: int | None = 10, finish: str = "stop") -> Answer:
    """An answer with a chat completion."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {} if tokens is None else {"usage": {"total_tokens": tokens}}
    return Answer(body=json.dumps({"choices": [choice], **usage}).encode())


@contextmanager
def serving(answers: list[Answer] | Callable[[dict[str, Any]], Answer]) -> Iterator[LocalServer]:
    """A server that gives these answers in order and repeats the last one, or calls a function for each."""
    seen: list[dict[str, Any]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            is_json = self.headers["Content-Type"] == "application/json"
            body = json.loads(raw) if is_json else raw
            request = {"path": self.path, "headers": dict(self.headers), "body": body}
            with lock:
                seen.append(request | {"at": time.monotonic()})
                number = len(seen) - 1
            answer = answers(request) if callable(answers) else answers[min(number, len(answers) - 1)]
            time.sleep(answer.delay)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.reset:
                    self.wfile.write(answer.body[: len(answer.body) // 2])
                    self.close_connection = True
                elif answer.drip:
                    for byte in answer.body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(answer.drip)
                else:
                    self.wfile.write(answer.body)
            except OSError:  # the client has disconnected
                self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield LocalServer(f"http://127.0.0.1:{server.server_port}/v1", seen)
    finally:
        server.shutdown()
        server.server_close()
