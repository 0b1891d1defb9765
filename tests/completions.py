"""A local server of `/v1/completions` that runs a model of ours, or says prepared ids."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from torch import Tensor

from stages.train.backbone import reader_of
from stages.train.sampling import Draw, Sampling

Logits = Callable[[Sequence[int]], Tensor]
"""logits_V of the id after these."""


@dataclass(frozen=True)
class Fault:
    status: int = 0
    """Answer with this instead."""
    after: int | None = None
    """Close the connection after this number of ids."""


@dataclass
class LocalCompletions:
    """How the server behaves may be changed while it runs."""

    logits: Logits
    holds: tuple[str, ...] = ("allowed_token_ids",)
    """The fields that it knows of those that name allowed ids; the others it passes over, as vLLM does."""
    returns_ids: bool = True
    leaves_out_end: bool = False
    key: str = ""
    length: int = 4096
    faults: list[Fault] = field(default_factory=list)
    """Of the next requests."""
    gate: threading.Event | None = None
    """Waits for it after `before_gate` ids."""
    before_gate: int = 0
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def events(self, body: dict[str, Any], fault: Fault) -> Iterator[dict[str, Any] | None]:
        """None: the connection breaks."""
        ids = list(body["prompt"])
        draw = Draw(Sampling(body["temperature"], body["top_p"], body["seed"]))
        for number in range(body["max_tokens"]):
            if number == fault.after:
                yield None
                return
            if self.gate and number == self.before_gate:
                assert self.gate.wait(60)
            scores = self.logits(ids).clone()
            allowed = torch.arange(len(scores))
            if "allowed_token_ids" in self.holds and "allowed_token_ids" in body:
                allowed = torch.tensor(body["allowed_token_ids"])
            if "logit_bias" in self.holds:
                for id, bias in body.get("logit_bias", {}).items():
                    scores[int(id)] += bias
            ids.append(draw(scores, allowed.numpy()))
            at_end = ids[-1] in body["stop_token_ids"]
            last = at_end or number + 1 == body["max_tokens"]
            choice = {
                "index": 0,
                "text": "?",
                "finish_reason": ("stop" if at_end else "length") if last else None,
            }
            if self.returns_ids:
                choice["token_ids"] = [] if at_end and self.leaves_out_end else ids[-1:]
            yield {"choices": [choice]}
            if last:
                return


def logits_of(model) -> Logits:
    return lambda ids: reader_of(model).read(ids)


def prepared(prompt_length: int, ids: Sequence[int], size: int) -> Logits:
    """Says the ids after a prompt of this length, whatever it is."""

    def logits(so_far: Sequence[int]) -> Tensor:
        at = len(so_far) - prompt_length
        return torch.nn.functional.one_hot(torch.tensor(ids[at] if 0 <= at < len(ids) else 0), size).double()

    return logits


@contextmanager
def completing(logits: Logits, **behaviour: Any) -> Iterator[LocalCompletions]:
    server = LocalCompletions(logits, **behaviour)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            models = [{"id": "tiny", "max_model_len": server.length}]
            self.reply(json.dumps({"data": models}).encode() if self.path == "/v1/models" else b"", 404)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server.bodies.append(body)
                fault = server.faults.pop(0) if server.faults else Fault()
            if fault.status or not self.is_allowed():
                self.refuse(fault.status or 401)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for event in server.events(body, fault):
                    if event is None:
                        return
                    self.wfile.write(b"data: %s\n\n" % json.dumps(event).encode())
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:  # the client has what it wanted
                pass

        def is_allowed(self):
            return not server.key or self.headers["Authorization"] == f"Bearer {server.key}"

        def reply(self, content, otherwise):
            if not content or not self.is_allowed():
                self.refuse(otherwise if not content else 401)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def refuse(self, status):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"error": {"message": "no such thing"}}).encode())

        def log_message(self, *_args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
