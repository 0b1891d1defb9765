"""The loader of trainings alone: tokens a second from a local S3 server, in one process on this machine.

    python -m tests.benchmarks.bench_loader DATASET FOLDER [--times 200] [--tokens 4000000]

DATASET is a reference to a version, such as datasets/demo@latest. A larger one is made of it in FOLDER, with
the samples' records and ids under many new keys, by the writer of shards, and is put into the server. Three
loaders then read the same steps, in turn, and all must give the same batches bit for bit:

blocks   documents one after another, through blocks of 128 KB of which 64 stay in memory (the code before)
ranges   a range for each document, many at the same time, several steps ahead
copies   the same from copies of the shards on disk (`copy_shards_to`); copying is timed on its own

Afterwards the parts of the work are timed one by one in a single thread: packing, reading, decoding, and
batches as tensors. The S3 server shares the cores of this machine, and its part is told.
"""

import argparse
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import psutil
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipeline.storage.store import Store
from pipeline.training.data import DOCUMENTS, VersionData, indexed, shards_of, write_table
from pipeline.versions.reader import Reference, Version, open_version, version_at
from schemas.hashing import shuffle_key
from schemas.manifest import Shard
from schemas.sample import Sample
from stages.shard import ShardConfig, write_shards
from stages.train.batch import Batch, batch_of
from stages.train.documents import Document, Documents, Range, Read
from stages.train.packed import PackedDocuments
from stages.train.packing import Packing, pack, sequences_of
from stages.train.read_ahead import read_ahead
from tests.object_storage import access, seaweedfs

LENGTH, BATCH = 8192, 8
"""Tokens of a sequence, and sequences of a step."""
BLOCK = 128 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Reference.parse)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=200, help="keys that each sample gets")
    parser.add_argument("--tokens", type=int, default=4_000_000, help="tokens that are read")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    with seaweedfs(arguments.folder) as server:
        os.environ |= access(server.endpoint)
        source = open_version(arguments.dataset)
        store = Store(f"{server.bucket('datasets')}/large")
        large = enlarged(source, store, arguments.folder / "shards", arguments.times)
        measure(large, arguments.folder, arguments.tokens)


def enlarged(source: Version, store: Store, folder: Path, times: int) -> Version:
    """A version with each sample of another under many keys, without its audio, in a store."""
    samples = [copy_of(sample, n) for sample in samples_in(source) for n in range(times)]
    samples.sort(key=lambda sample: shuffle_key(sample.key))
    folder.mkdir()
    shards = []
    for shard in write_shards(samples, folder, "train", 0, ShardConfig(megabytes=32)):
        path = f"shards/{shard.path.name}"
        shards.append(
            Shard(path=path, bytes=shard.bytes, sha256=shard.sha256, split="train", samples=shard.samples)
        )
        store.put_new(f"versions/{source.id}/{path}", shard.path)
        shard.path.unlink()
    manifest = source.manifest.model_copy(update={"shards": shards})
    store.put_new(f"versions/{source.id}/manifest.json", manifest.model_dump_json().encode())
    return version_at(store, source.id)


def samples_in(version: Version) -> Iterator[Sample]:
    """Samples of the shards for training that are no pairs."""
    for shard in version.manifest.shards:
        if shard.split != "train" or "preference" in shard.path:
            continue
        with version.store.open(version.path(shard.path)) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                content = io.BytesIO(tar.extractfile(member).read())  # type: ignore[union-attr]
                if name == "json":
                    record = json.load(content)
                elif name == "tokens.npy":
                    tokens = np.load(content)
                elif name == "loss.npy":
                    yield Sample(key, record["family"], record, tokens, np.load(content), ())


def copy_of(sample: Sample, number: int) -> Sample:
    """The sample under a key of another recording."""
    recording = hashlib.sha256(f"{number}{sample.key}".encode()).hexdigest()[:16]
    return replace(sample, key=re.sub(r"^[0-9a-f]{16}", recording, sample.key))


def measure(version: Version, folder: Path, tokens: int) -> None:
    """Print what each loader and each part of the work takes. Exits if the batches of two loaders differ."""
    index, copies = folder / DOCUMENTS, folder / "copies"
    with timed("index of the shards") as done:
        table = indexed(version, folder / "index")
        write_table(index, table)
        total = done(table["length"].to_numpy().sum())
    print(f"{table.num_rows:,} documents with {total:,} tokens in {len(version.manifest.shards)} shards")
    with timed("copies of the shards") as done:
        on_disk = VersionData(version.store.uri, version.id, index, {}, copies=copies)().documents
        done(total)
    with timed("packing, once a run") as done:
        packing = pack(on_disk.lengths, LENGTH, seed=0)
        done(total)
    by_range = VersionData(version.store.uri, version.id, index, {})().documents
    in_blocks = Documents(table, through_blocks(version))
    steps = [sequences_of(n, BATCH, packing.sequences, 0) for n in range(tokens // (LENGTH * BATCH))]
    expected: list[Batch] = []
    for name, documents in (("blocks", in_blocks), ("ranges", by_range), ("copies", on_disk)):
        packed = PackedDocuments(documents, np.arange(len(documents)), packing, LENGTH, 0)
        with timed(name) as done:
            batches = one_by_one(packed, steps) if name == "blocks" else ahead(packed, steps)
            done(tokens_of(batches))
        expected = expected or batches
        if not all(map(same, expected, batches)):
            sys.exit(f"the batches of {name} differ from those of blocks")
    time_parts(on_disk, packing, steps)


def one_by_one(packed: PackedDocuments, steps: list[list[int]]) -> list[Batch]:
    def read(sequence: int) -> list[Document]:
        entries = packed.packing.documents(sequence)
        return [document for entry in entries for document in packed.documents.read([entry])]

    return [batch_of([read(sequence)], LENGTH, 0) for step in steps for sequence in step]


def ahead(packed: PackedDocuments, steps: list[list[int]]) -> list[Batch]:
    """As in training, with a sequence in a micro-batch."""
    return [batch for step in read_ahead(lambda step: list(packed.batches(step, 1)), steps) for batch in step]


def through_blocks(version: Version) -> Read:
    """Reads blocks of shards, some of which stay in memory."""
    paths = [version.path(shard) for shard in shards_of(version)]

    @lru_cache(maxsize=64)
    def block(shard: int, number: int) -> bytes:
        return version.store.read(paths[shard], number * BLOCK, (number + 1) * BLOCK)

    def one(shard: int, start: int, size: int) -> bytes:
        first, last = start // BLOCK, (start + size - 1) // BLOCK
        return b"".join(block(shard, n) for n in range(first, last + 1))[start - first * BLOCK :][:size]

    return lambda ranges: [one(*wanted) for wanted in ranges]


def time_parts(documents: Documents, packing: Packing, steps: list[list[int]]) -> None:
    """The loader's parts with the shards on disk, one after another in this thread."""
    entries = [packing.documents(sequence) for step in steps for sequence in step]
    read = TimedRead(documents._read)
    started = time.perf_counter()
    sequences = [Documents(documents.index, read).read(of_sequence) for of_sequence in entries]
    reading = time.perf_counter() - started
    started = time.perf_counter()
    tokens = tokens_of([batch_of([sequence], LENGTH, 0) for sequence in sequences])
    collating = time.perf_counter() - started
    print(f"{read.bytes / tokens:.1f} bytes read a token, in {read.ranges:,} ranges")
    for name, seconds in (
        ("reading", read.seconds),
        ("decoding", reading - read.seconds),
        ("batches as tensors", collating),
    ):
        print(f"  {name:20} {seconds:6.2f} s, {tokens / seconds:12,.0f} tokens/s")


class TimedRead:
    """A `Read` that keeps count."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.seconds = 0.0
        self.bytes = self.ranges = 0

    def __call__(self, ranges: Sequence[Range]) -> Sequence[bytes]:
        started = time.perf_counter()
        contents = self._read(ranges)
        self.seconds += time.perf_counter() - started
        self.ranges += len(contents)
        self.bytes += sum(map(len, contents))
        return contents


@contextmanager
def timed(name: str) -> Iterator[Callable[[int], int]]:
    """Prints what was done, by as many tokens as the function is told, and the CPU seconds that this process
    and the S3 server took for it."""
    tokens = 0

    def done(number: int) -> int:
        nonlocal tokens
        tokens = int(number)
        return tokens

    started, used = time.perf_counter(), cpu_seconds()
    yield done
    seconds = time.perf_counter() - started
    own, server = (after - before for after, before in zip(cpu_seconds(), used, strict=True))
    print(
        f"{name:20} {seconds:6.2f} s, {tokens / seconds:12,.0f} tokens/s; "
        f"CPU {own:.2f} s, of the server {server:.2f} s",
        flush=True,
    )


def cpu_seconds() -> tuple[float, float]:
    """Of this process, and of the S3 server that it started."""
    processes = [psutil.Process(), *psutil.Process().children()]
    own, *others = (sum(process.cpu_times()[:2]) for process in processes)
    return own, sum(others)


def tokens_of(batches: Sequence[Batch]) -> int:
    return sum(int((batch.documents_BL >= 0).sum()) for batch in batches)


def same(one: Batch, other: Batch) -> bool:
    tensors = [field.name for field in fields(Batch) if field.name != "documents"]
    keys = [[document.key for document in batch.documents] for batch in (one, other)]
    return keys[0] == keys[1] and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


if __name__ == "__main__":
    main()
