"""Copies of a version's shards on the disk of a node, from which its processes read documents."""

import fcntl
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pipeline.versions.reader import Version
from schemas.errors import SetupError

_CHUNK_BYTES = 8 * 1024 * 1024
_CONCURRENT = 8


def copied(version: Version, shards: Iterable[str], folder: Path) -> Path:
    """The folder with copies of shards, each of which is at its path within the version. Of the processes
    of a node that ask for a shard, one copies it. Raises SetupError if it can't be written."""
    copies = folder / version.id
    with ThreadPoolExecutor(_CONCURRENT) as pool:
        list(pool.map(partial(_copy, version, copies), shards))
    return copies


def _copy(version: Version, copies: Path, shard: str) -> None:
    target = copies / shard
    partial_copy = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(f".{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.exists():
                return
            with version.store.open(version.path(shard)) as content, partial_copy.open("wb") as out:
                shutil.copyfileobj(content, out, _CHUNK_BYTES)
            partial_copy.rename(target)
    except FileNotFoundError as error:
        raise SetupError(f"{version.uri} has no {shard}: run `aqaa-data versions verify`") from error
    except OSError as error:
        raise SetupError(
            f"copy_shards_to: can't copy {version.store.join(version.path(shard))} to {target}: "
            f"{error.strerror or error}: make room there, or set it to another disk or to null"
        ) from error
