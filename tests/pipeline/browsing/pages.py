"""A small version with its recordings, and a running page of it."""

import json
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.browsing.app import OpenVersion, create_browse_server
from pipeline.browsing.audio import audio_of
from pipeline.browsing.marks import MarksFile
from pipeline.browsing.query import turn_tables
from pipeline.browsing.tokens import SpokenTokens
from pipeline.browsing.unpacked import unpacked_turns, unpacked_version
from pipeline.planning.plan import Plan
from pipeline.versions.provenance import select_of
from pipeline.versions.reader import Reference, Version, open_version
from tests.paths import DEMO, FIXTURES

TIMEOUT = 60
"""Seconds; generous, for busy machines."""
STEVE = "9f1102341cad3daa-0000"
"""The key of a turn of the conversation, without its last digit."""
RECORDINGS = ("monologues/LJ002-0020.wav", "conversations/az_katiesteve.flac")


def small_version(folder: Path, recordings: Sequence[str] = RECORDINGS) -> Version:
    """A version that release 0.1.0 published, of eight turns, with those recordings that are still there."""
    dataset = shutil.copytree(FIXTURES / "dataset-0.1.0" / "before", folder / "before")
    (manifest_file,) = dataset.glob("versions/*/manifest.json")
    manifest = json.loads(manifest_file.read_text())
    rows = []
    for name in recordings:
        path = Path(shutil.copy(DEMO / name, folder))
        rows.append({"id": path.name, "uri": path.as_uri(), "bytes": path.stat().st_size, "etag": "1"})
    annotation = f"annotations/{manifest['stages']['decode']}/{'0' * 16}-{'0' * 12}.parquet"
    (dataset / annotation).parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), dataset / annotation)
    manifest_file.write_text(json.dumps(manifest | {"ledgers": [annotation]}))
    return open_version(Reference.parse(str(dataset)))


@dataclass
class BrowsePage:
    url: str
    versions: list[OpenVersion]

    def ask(self, method: str, path: str, body=None, **headers: str) -> tuple[int, bytes, dict]:
        """Status, content and headers of a response."""
        with closing(HTTPConnection(self.url.split("/")[2], timeout=TIMEOUT)) as connection:
            content = None if body is None else json.dumps(body)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, content, named)
            response = connection.getresponse()
            return response.status, response.read(), dict(response.headers)

    def get(self, path: str, **asked):
        """The JSON of a successful answer; what is asked for is sent as JSON."""
        query = "&".join(f"{name}={quote(json.dumps(value))}" for name, value in asked.items())
        status, content, _ = self.ask("GET", f"{path}?{query}")
        assert status == 200, content
        return json.loads(content)

    def mark(self, key: str, mark: str | None):
        body = {"version": 0, "key": key, "mark": mark}
        return self.ask("PUT", "/api/marks", body, content_type="application/json")

    def correct(self, key: str, **heard: str):
        body = {"version": 0, "key": key, "corrected": heard}
        return self.ask("PUT", "/api/corrections", body, content_type="application/json")


@contextmanager
def browse_page(
    *versions: Version,
    marks: Path | None = None,
    token: str | None = None,
    annotated: Sequence[Plan] = (),
) -> Iterator[BrowsePage]:
    """A page of some versions, and of annotations that aren't packed."""
    with ExitStack() as stack:
        files = [(version.local("turns.parquet"), select_of(version.manifest)) for version in versions]
        files += [(unpacked_turns(plan), plan.recipe.select) for plan in annotated]
        versions = (*versions, *map(unpacked_version, annotated))
        tables = stack.enter_context(turn_tables(files))
        opened = [
            OpenVersion(version, table, stack.enter_context(audio_of(version)), SpokenTokens(version))
            for version, table in zip(versions, tables, strict=True)
        ]
        marks_file = MarksFile(marks) if marks else None
        if marks_file:
            stack.callback(marks_file.close)
        server = create_browse_server(opened, marks_file, token)
        bound = socket.create_server(("127.0.0.1", 0))
        thread = Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield BrowsePage(f"http://127.0.0.1:{bound.getsockname()[1]}/", opened)
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join(TIMEOUT)
