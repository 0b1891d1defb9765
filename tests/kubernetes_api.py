"""The part of a Kubernetes API that a submission speaks, on a real socket: objects are kept as they come."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

TOKEN = "token-that-nobody-may-read"


@dataclass
class Api:
    """A server with one namespace, `builds`."""

    url: str = ""
    objects: dict[str, Any] = field(default_factory=dict)
    """Path -> object."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    """What a RayJob says of itself, one a look; the last again and again."""
    pods: list[dict[str, Any]] = field(default_factory=list)
    refuse: Callable[[str, str], tuple[int, dict[str, Any]] | None] = lambda method, path: None

    def kubeconfig(self, namespace: str = "builds") -> str:
        """A file for this server, as text."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [
                    {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}
                ],
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
            }
        )

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if refused := self.refuse(method, path):
            return refused
        if "/namespaces/builds/" not in path:
            return trouble(404, 'namespaces "other" not found')
        if path.endswith("/pods"):
            return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self.pods}
        match method:
            case "PATCH":
                assert query["fieldManager"] == ["aqaa-data"]
                self.objects[path] = body
                return 200, body
            case "POST":
                path = f"{path}/{body['metadata']['name']}"
                if path in self.objects:
                    return trouble(409, "it exists")
                self.objects[path] = body
                return 201, body
            case "DELETE":
                return 200, self.objects.pop(path)
            case _ if path not in self.objects:
                name = path.rpartition("/")[2]
                return trouble(404, f'rayjobs.ray.io "{name}" not found', {"name": name})
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return 200, self.objects[path] | {"status": status}


def trouble(code: int, message: str, details: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """A Status object, as the API server answers with."""
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    return code, said | {"details": details or {}}


@contextmanager
def kubernetes_api() -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = urlsplit(self.path)
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            api.seen.append((self.command, asked.path))
            code, said = api.answer(
                self.command, asked.path, parse_qs(asked.query), json.loads(raw) if raw else None
            )
            body = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
