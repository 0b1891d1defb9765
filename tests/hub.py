"""A hub of data sets on a local port: the parts of Hugging Face's API that reading needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "hf_of_the_tests"
PAGE = 3
"""Entries of a page of a listing."""


class LocalHub(ThreadingHTTPServer):
    """Serves the data set `ann/calls` at the revisions `main` and `refs/convert/parquet`."""

    def __init__(self, files: dict[str, bytes], private: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.files = files
        self.private = private
        self.ranges: list[str] = []
        """Of the requests of bytes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(files: dict[str, bytes], private: bool = False) -> Iterator[LocalHub]:
    hub = LocalHub(files, private)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Requests(BaseHTTPRequestHandler):
    server: LocalHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        revisions = "(?:main|refs%2Fconvert%2Fparquet)"
        if found := re.fullmatch(rf"/api/datasets/ann/calls/tree/{revisions}/?(.*)", url.path):
            self._tree(unquote(found[1]), parse_qs(url.query))
        elif found := re.fullmatch(rf"/datasets/ann/calls/resolve/{revisions}/(.+)", url.path):
            self._redirect(f"/storage/{found[1]}")
        elif url.path.startswith("/storage/"):
            self._bytes(unquote(url.path.removeprefix("/storage/")))
        else:
            self._error("RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if not self.path.startswith("/api/datasets/ann/calls/paths-info/"):
            self._error("RepoNotFound")
            return
        self._json([self._entry(path) for path in form["paths"] if path in self.server.files])

    def _tree(self, folder: str, query: dict[str, list[str]]) -> None:
        assert query["recursive"][0].lower() == "true"
        paths = sorted(path for path in self.server.files if not folder or path.startswith(f"{folder}/"))
        if not paths:
            self._error("EntryNotFound")
            return
        first = int(query.get("cursor", ["0"])[0])
        head = {}
        if first + PAGE < len(paths):
            rest = f"{self.server.url}{urlsplit(self.path).path}?recursive=True&cursor={first + PAGE}"
            head = {"Link": f'<{rest}>; rel="next"'}
        folders = [{"type": "directory", "path": "deep", "oid": "0", "size": 0}] if first == 0 else []
        self._json([*folders, *map(self._entry, paths[first : first + PAGE])], head)

    def _entry(self, path: str) -> dict[str, object]:
        content = self.server.files[path]
        tag = hashlib.sha256(content).hexdigest()
        lfs = {"lfs": {"oid": tag, "size": len(content), "pointerSize": 1}} if len(content) > 100 else {}
        return {"type": "file", "path": path, "size": len(content), "oid": f"git-{tag}", **lfs}

    def _bytes(self, path: str) -> None:
        if path not in self.server.files:
            self._error("EntryNotFound")
            return
        content, status, head = self.server.files[path], 200, {}
        if asked := self.headers.get("Range"):
            self.server.ranges.append(asked)
            first, last = (int(end) for end in asked.removeprefix("bytes=").split("-"))
            head = {"Content-Range": f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"}
            content, status = content[first : last + 1], 206
        self._send(status, content, {"ETag": '"of the storage"', "Accept-Ranges": "bytes", **head})

    def _redirect(self, path: str) -> None:
        self._send(302, b"", {"Location": f"{self.server.url}{quote(unquote(path))}"})

    def _json(self, value: object, head: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(head or {})})

    def _error(self, code: str) -> None:
        self._send(404, b"", {"X-Error-Code": code})

    def _send(self, status: int, content: bytes, head: dict[str, str]) -> None:
        if self.server.private and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, content, head = 401, b"", {"X-Error-Code": "RepoNotFound"}
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
