"""Time and memory of planning, ledger, pack and publish for very many recordings, without real audio.

    python -m tests.benchmarks.simulate RECORDING.wav FOLDER --recordings 1000000 [--groups 4] [--publish]

An S3 server in its own process lists that number of recordings, each with a sidecar, and answers every read
with RECORDING.wav. The ledger gets one file per unit and stage; those of a few groups contain annotations,
the others are empty. These groups are packed; for publishing, their packs are linked in place of all
others.
"""

import argparse
import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.object_storage import access

PAGE = 1000


def serve(number: int, recording: bytes, ready: Connection) -> None:
    """S3's ListObjectsV2 for `number` recordings with sidecars, and the same answer to every read."""
    names = sorted(hashlib.md5(str(n).encode()).hexdigest() for n in range(number))
    tag = hashlib.md5(recording).hexdigest()

    def page(start: int) -> bytes:
        entries = []
        for name in names[start : start + PAGE // 2]:
            key = f"calls/{name[:2]}/{name}.wav"
            for path, size, etag in ((key, len(recording), tag), (f"{key}.json", 17, name)):
                entries.append(
                    f"<Contents><Key>{path}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f'<ETag>"{etag}"</ETag><Size>{size}</Size></Contents>'
                )
        after = start + PAGE // 2
        more = after < len(names)
        token = f"<NextContinuationToken>{after}</NextContinuationToken>" if more else ""
        head = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        return f"<ListBucketResult>{head}{''.join(entries)}</ListBucketResult>".encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            if "list-type" in query:
                self.answer(200, page(int(query.get("continuation-token", ["0"])[0])))
            elif unquote(url.path).endswith((".wav", ".json")):
                body = recording if url.path.endswith(".wav") else b'{"licence": "x"}\n'
                if byte_range := self.headers.get("Range"):
                    first, _, last = byte_range.removeprefix("bytes=").partition("-")
                    end = min(int(last) + 1, len(body)) if last else len(body)
                    content_range = {"Content-Range": f"bytes {first}-{end - 1}/{len(body)}"}
                    self.answer(206, body[int(first) : end], content_range)
                else:
                    self.answer(200, body)
            else:
                self.answer(404, b"")

        do_HEAD = do_GET  # noqa: N815

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response_only(status)
            common = {"ETag": f'"{tag}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"} | (headers or {})
            for name, value in (common | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_port)
    server.serve_forever()


def annotated(listed: Any, turns: int) -> Any:
    """A recording of two speakers, as the annotate stages would have written it."""
    import numpy as np

    from schemas.recording import (
        Codes,
        DecodeColumn,
        DecodedAudio,
        Diarization,
        DiarizeColumn,
        QualityColumn,
        QualityMeasures,
        TokenizeColumn,
        TranscribeColumn,
        Transcript,
        Turn,
        Word,
    )

    seed = int(hashlib.md5(listed.id.encode()).hexdigest()[:8], 16)
    draw = np.random.default_rng(seed)
    decoded = DecodedAudio(
        6.0 * turns, None, "wav", "pcm_s16le", 16000, 1, 1, "mono", -27.0, -3.0, 0.0, 0.0, 0.0, (), listed.id
    )
    spans = [(6.0 * n, 6.0 * n + 5.4) for n in range(turns)]
    words = ["the", "train", "to", "the", "city", "leaves", "at", "nine", "from", "platform", "two", "today"]

    def transcript(n: int) -> Transcript:
        text = " ".join(words[draw.integers(len(words))] for _ in range(12))
        start, end = spans[n]
        each = (end - start) / 12
        timed = tuple(
            Word(start + each * k, start + each * (k + 1), f" {w}", 0.9) for k, w in enumerate(text.split())
        )
        return Transcript(text, "en", 0.98, timed, "model", -0.2, 0.02, 1.1, 0.0, 14.0, 7, False)

    return replace(
        listed,
        sidecar='{"licence": "x"}',
        decode=DecodeColumn(decoded),
        diarize=DiarizeColumn(
            Diarization(
                "model", (), (), tuple(Turn(a, b, "AB"[n % 2], 0, False) for n, (a, b) in enumerate(spans))
            )
        ),
        transcribe=TranscribeColumn(tuple(transcript(n) for n in range(turns))),
        quality=QualityColumn((QualityMeasures(2.9, 3.2, 3.5, 0.0, 0.9, 2.5, 180.0, 6.0, -27.0),) * turns),
        tokenize=TokenizeColumn(
            tuple(
                Codes(tuple(draw.integers(0, 1024, 90).tolist()), tuple(draw.integers(0, 4096, 135).tolist()))
                for _ in range(turns)
            )
        ),
    )


@contextmanager
def measured(what: str, facts: dict[str, Any], **more: Any) -> Iterator[None]:
    wall, cpu = time.monotonic(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    facts[what] = {
        "seconds": round(time.monotonic() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_gb_so_far": round(peak, 3),
    } | more
    print(json.dumps({what: facts[what]}), file=sys.stderr, flush=True)


def simulate(folder: Path, number: int, groups: int, turns: int, published: bool) -> dict[str, Any]:
    from pipeline.build.publish import publish
    from pipeline.config.recipe import load
    from pipeline.ledger.annotations import Ledger
    from pipeline.pack.groups import cut
    from pipeline.pack.run import groups_of, pack_group
    from pipeline.planning.plan import make_plan
    from pipeline.report.pages import pages

    facts: dict[str, Any] = {"recordings": number}
    recipe = load(folder / "recipe.yaml")
    with measured("plan", facts):
        plan = make_plan(recipe)
        assert plan.id
    facts["units"] = len(plan.units)
    if not groups:
        return facts
    ledger, root = Ledger(plan.dataset), plan.dataset.directory
    with measured("ledger: empty files", facts, files=len(plan.units) * len(plan.stages)):
        for stage in plan.stages:
            folder_of_stage = root / "annotations" / stage.fingerprint
            folder_of_stage.mkdir(parents=True, exist_ok=True)
            for unit in plan.units:
                (folder_of_stage / f"{unit.name}.parquet").touch()
    with measured("ledger: what is committed", facts):
        committed = plan.committed()
        assert all(len(units) == len(plan.units) for units in committed.values())
        del committed
    with measured("pack: cut into groups", facts):
        every = cut(plan)
    facts["groups"] = len(every)
    chosen = {group.name for group in every[:groups]}
    ids = {id for group in every if group.name in chosen for id in group.uris}
    mine = [unit for unit in plan.units if unit.recordings[0].id in ids]
    made = {unit.name: [annotated(r.recording("{}"), turns) for r in unit.recordings] for unit in mine}
    for stage in plan.stages:
        for unit in mine:
            (root / "annotations" / stage.fingerprint / f"{unit.name}.parquet").unlink()
    bytes_written = 0
    with measured("ledger: commits", facts, units=len(mine)):
        for stage in plan.stages:
            for unit in mine:
                bytes_written += ledger.write(stage.name, stage.fingerprint, unit.name, made[unit.name])
    facts["ledger: commits"]["bytes_a_unit"] = bytes_written // len(mine)
    del every, made
    with measured("pack: groups with decisions", facts):
        todo = [group for group in groups_of(plan) if group.name in chosen]
    with measured("pack: groups", facts, groups=len(todo), recordings=sum(len(g.uris) for g in todo)):
        packed = [pack_group(g, plan.recipe, plan.dataset, plan.stages[0].fingerprint) for g in todo]
    facts["pack: groups"]["bytes_of_shards"] = sum(shard.bytes for p in packed for shard in p.shards)
    if published:
        everything = list(linked_groups(root, packed, facts["groups"]))
        with measured("publish", facts, groups=len(everything)):
            manifest, new = publish(plan, everything, pages(plan))
        assert new
        facts["version"] = {
            "shards": len(manifest.shards),
            "manifest_bytes": (root / "versions" / manifest.version / "manifest.json").stat().st_size,
            "turns_bytes": next(f.bytes for f in manifest.files if f.path == "turns.parquet"),
            "turns": manifest.turns.diarized,
        }
    with measured("plan again, all committed", facts):
        again = make_plan(recipe)
        again.committed()
    return facts


def linked_groups(root: Path, packed: list[Any], number: int) -> Iterator[Any]:
    """`number` groups whose files are hard links to those of the few packed groups."""
    for n in range(number):
        group = packed[n % len(packed)]
        folder = root / f"{group.folder}-{n}"
        folder.mkdir(exist_ok=True)
        for file in (root / group.folder).iterdir():
            if not (folder / file.name).exists():
                os.link(file, folder / file.name)
        yield replace(group, folder=f"{group.folder}-{n}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recording", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=4, help="groups with annotations, which are packed")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--only-plan", action="store_true")
    parser.add_argument("--publish", action="store_true")
    arguments = parser.parse_args()
    receiver, sender = Pipe()
    server = Process(
        target=serve, args=(arguments.recordings, arguments.recording.read_bytes(), sender), daemon=True
    )
    server.start()
    os.environ |= access(f"http://127.0.0.1:{receiver.recv()}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "recipe.yaml").write_text("name: many\ninputs: [s3://many/in]\noutput: out\n")
    facts = simulate(
        arguments.folder,
        arguments.recordings,
        0 if arguments.only_plan else arguments.groups,
        arguments.turns,
        arguments.publish,
    )
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
