"""Time and memory of the driver for a dataset in partitions of very many recordings, without real audio.

    python -m tests.benchmarks.partitions FOLDER --partitions 100 --recordings 100000

An S3 server in another process lists so many partitions of so many recordings, each with a sidecar. Each is
planned, with the rows of annotate, and gets a manifest with the ledger files that a build would list. Then
the version of all is put together, and once more with a new partition, as a build of this one alone does.
"""

import argparse
import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.object_storage import access

PAGE = 1000
"""Keys that S3 lists at once."""
TAG = hashlib.md5(b"").hexdigest()


def serve(partitions: int, recordings: int, ready: Connection) -> None:
    """S3's ListObjectsV2; keys are made as they are asked for."""

    def entry(partition: str, number: int) -> str:
        recording = f"in/{partition}/{number // 2:09d}.wav"
        key, size = (f"{recording}.json", 17) if number % 2 else (recording, 500_000)
        return (
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"{TAG}"</ETag><Size>{size}</Size></Contents>'
        )

    def listed(query: dict[str, list[str]]) -> str:
        prefix = query.get("prefix", [""])[0]
        partition = prefix.removeprefix("in/").rstrip("/")
        if not partition:
            names = (f"in/{name}/" for name in names_of(partitions))
            return "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in names)
        start = int(query.get("continuation-token", ["0"])[0])
        end = min(start + PAGE, 2 * recordings)
        more = end < 2 * recordings
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        entries = "".join(entry(partition, number) for number in range(start, end))
        return f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            body = f"<ListBucketResult>{listed(query)}</ListBucketResult>".encode()
            is_list = "list-type" in query
            self.send_response_only(200 if is_list else 404)
            self.send_header("Content-Length", str(len(body) if is_list else 0))
            self.end_headers()
            if is_list and self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_port)
    server.serve_forever()


def names_of(partitions: int) -> Iterator[str]:
    return (f"part-{number:05d}" for number in range(partitions))


def simulate(folder: Path, recordings: int) -> dict[str, Any]:
    from pipeline.annotate.run import pending
    from pipeline.build.partitions import chosen, head_of, part_of, planned
    from pipeline.build.publish import manifest_of, stored_manifest
    from pipeline.config.recipe import load
    from pipeline.storage import dataset_layout as layout
    from pipeline.storage.store import Store

    recipe = load(folder / "recipe.yaml")
    dataset = Store(f"{recipe.output}/{recipe.name}")
    started, plans, peaks, rows = time.monotonic(), [], [], 0
    partitions = chosen(recipe, ())
    parts = {}
    for partition in partitions:
        before = time.monotonic()
        plan = planned(recipe, partition)
        rows += len(pending(plan, retry=False))
        plans.append(time.monotonic() - before)
        version = hashlib.sha256(plan.id.encode()).hexdigest()[:16]
        manifest = manifest_of(plan, [], version, [], []).model_copy(
            update={
                "ledgers": [
                    layout.annotation(stage.fingerprint, unit.name)
                    for stage in plan.stages
                    for unit in plan.units
                ]
            }
        )
        plan.dataset.put_new(layout.manifest(version), stored_manifest(manifest))
        parts[partition.name] = part_of(partition.name, manifest, plan)
        peaks.append(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3))
        del plan, manifest
    planning = time.monotonic() - started
    before = time.monotonic()
    head = head_of(recipe, dataset, dict(list(parts.items())[:-1]))
    whole = time.monotonic() - before
    dataset.put_new(layout.manifest(head.version), stored_manifest(head))
    before = time.monotonic()
    head_of(recipe, dataset, parts)
    again = time.monotonic() - before
    total = recordings * len(partitions)
    return {
        "recordings": total,
        "partitions": len(partitions),
        "units": rows,
        "minutes_per_million": round(planning / 60 / (total / 1e6), 2),
        "peak_gb_after_first_middle_last": [peaks[0], peaks[len(peaks) // 2], peaks[-1]],
        "head_seconds": round(whole, 2),
        "head_bytes": len(stored_manifest(head)),
        "one_new_partition_seconds": round(plans[-1] + again, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--partitions", type=int, default=100)
    parser.add_argument("--recordings", type=int, default=100_000, help="of each partition")
    arguments = parser.parse_args()
    receiver, sender = Pipe()
    server = Process(target=serve, args=(arguments.partitions, arguments.recordings, sender), daemon=True)
    server.start()
    os.environ |= access(f"http://127.0.0.1:{receiver.recv()}")
    arguments.folder.mkdir(parents=True)
    (arguments.folder / "recipe.yaml").write_text(
        "name: many\ninputs: [s3://many/in]\noutput: out\npartitions: {folders: 1}\n"
    )
    print(json.dumps(simulate(arguments.folder, arguments.recordings), indent=1))


if __name__ == "__main__":
    main()
