"""Starting or joining Ray, and cleaning up where that fails."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.telemetry import disable_telemetry
from schemas.errors import SetupError

START_SECONDS = 180
"""How long Ray may take to start on this machine. Ray's own limit is 30 s, too short for a busy machine, and
trying again makes it busier."""

TIMEOUTS = dict.fromkeys(
    (
        # Until the raylet has registered. The driver reads it (in GlobalStateAccessor::GetNode): the 30 s in
        # ray/_private/node.py are only checked after that wait.
        "RAY_raylet_start_wait_time_s",
        # Until the GCS has written its port, and then answers.
        "RAY_gcs_server_port_wait_time_s",
        # Until a new worker process has registered; Ray ends it and starts another after 60 s by default.
        "RAY_worker_register_timeout_seconds",
    ),
    str(START_SECONDS),
)
"""Environment variables that hold the timeouts of Ray's start, with our values."""

_REASON_LETTERS = 300


def join(address: str) -> None:
    """Join the Ray cluster at an address. Raises SetupError."""
    try:
        _init(address=address)
    except Exception as error:  # Ray raises many types, the plain one among them
        raise SetupError(f"can't join the Ray of RAY_ADDRESS={address}: {_reason(error)}") from error


def start(worker_niceness: int) -> Any:
    """Start Ray on this machine, and return its node.

    Raises SetupError with the load and memory of the machine, after ending every process of the failed start.
    """
    import ray

    before = set(_descendants())
    began = time.monotonic()
    environment = TIMEOUTS | {"RAY_worker_niceness": str(worker_niceness)}
    try:
        with _stderr_hidden(), _environment_defaults(environment):
            _init(num_cpus=max(2, len(os.sched_getaffinity(0))), include_dashboard=False)
    except BaseException as error:
        # Ray forgets a node that failed in its constructor, so `ray.shutdown` leaves its processes running.
        _end(set(_descendants()) - before)
        if not isinstance(error, Exception):
            raise
        raise SetupError(
            f"Ray did not start on this machine ({_reason(error)} after {time.monotonic() - began:.0f} s). "
            f"{machine_state()}. Close other programs or wait until the machine is less busy, then run the "
            "same command again; Ray's own logs are in /tmp/ray/session_latest/logs"
        ) from error
    return ray._private.worker._global_node


def machine_state() -> str:
    """`The load is 7.2 on 2 cores, and 0.8 of 8.2 GB of memory are free`"""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free, total = (int(memory[name].split()[0]) * 1024 / 1e9 for name in ("MemAvailable", "MemTotal"))
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return f"The load is {load:.1f} on {cores} cores, and {free:.1f} of {total:.1f} GB of memory are free"


def _init(**options: Any) -> None:
    disable_telemetry()
    import ray

    try:
        with _own_sigterm_handler():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except BaseException:
        ray.shutdown()
        raise


def _reason(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:_REASON_LETTERS].rstrip(".") or type(error).__name__


def _descendants() -> Iterator[int]:
    """Ids of the child processes of this process, and of theirs."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # The name of the program, in brackets, may hold spaces.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    unvisited = [os.getpid()]
    while unvisited:
        found = children.get(unvisited.pop(), [])
        yield from found
        unvisited += found


def _end(processes: set[int]) -> None:
    """Kill processes, and wait for those that are children of this one."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process, 0)


@contextmanager
def _environment_defaults(values: Mapping[str, str]) -> Iterator[None]:
    """Set those environment variables that the user hasn't set, while the context is open."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _own_sigterm_handler() -> Iterator[None]:
    """Restore our SIGTERM handler after Ray has installed its own, which ends the process silently."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


@contextmanager
def _stderr_hidden() -> Iterator[None]:
    """Hide what Ray's own processes print while they start, such as their log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
