"""Builds in separate processes that tests can kill: the driver, its Ray, its workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("aqaa-data"))

TIMEOUT = 900.0
"""Seconds after which a build counts as hanging."""

STAGES = ("decode", "diarize", "transcribe", "quality", "tokenize")


@dataclass(frozen=True)
class BuildResult:
    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> dict[str, Any]:
        """What `--json` printed."""
        assert self.code == 0, self.stderr
        return dict(json.loads(self.stdout))

    @property
    def message(self) -> str:
        """The last line on stderr, the error message for the user."""
        return (self.stderr.strip().splitlines() or [""])[-1]


def command(recipe: Path, *arguments: object) -> list[str]:
    return [COMMAND, "build", str(recipe), "--json", *map(str, arguments)]


class Running:
    """A running build, with all processes that it started."""

    def __init__(self, recipe: Path, *arguments: object, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(recipe, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | (environment or {}),
        )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> BuildResult:
        """Wait for the end. Raises subprocess.TimeoutExpired if the build hangs."""
        stdout, stderr = self.process.communicate(timeout=TIMEOUT)
        return BuildResult(self.process.returncode, stdout, stderr)

    def until(self, happened: Callable[[], bool]) -> bool:
        """Wait until `happened` returns True; False if the build ended first."""
        deadline = time.monotonic() + TIMEOUT
        while not happened():
            if self.ended or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def kill(self, name: str = "", number: signal.Signals = signal.SIGKILL) -> bool:
        """Signal the driver, or the first of its descendants whose program name starts with `name`."""
        if not name:
            self.process.send_signal(number)
            return True
        for pid in self.named(name):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
        return False

    def named(self, name: str) -> list[int]:
        """Ids of the driver's descendants whose program name starts with `name`."""
        return [
            pid
            for pid, command_line in sorted(descendants(self.process.pid).items())
            if command_line[0].rpartition("/")[2].startswith(name)
        ]

    def address(self) -> str | None:
        """The address of the build's own Ray; None before it is up."""
        for command_line in descendants(self.process.pid).values():
            if command_line[0].endswith("/raylet"):
                return next(
                    word.partition("=")[2] for word in command_line if word.startswith("--gcs-address=")
                )
        return None


@contextmanager
def running(recipe: Path, *arguments: object, **options: Any) -> Iterator[Running]:
    """A build whose processes are all killed when the context ends."""
    build = Running(recipe, *arguments, **options)
    try:
        yield build
    finally:
        remaining = descendants(build.process.pid)
        for pid in (build.process.pid, *remaining):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        build.process.wait()


def descendants(pid: int) -> dict[int, list[str]]:
    """Process id -> command line, of all descendants of a process."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                # The name may contain anything; after it come state and parent.
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    command_lines: dict[int, list[str]] = {}
    for child in parents:
        ancestor = child
        while ancestor in parents and ancestor != pid:
            ancestor = parents[ancestor]
        if ancestor == pid and child != pid:
            with suppress(OSError):
                command_line = Path(f"/proc/{child}/cmdline").read_bytes()
                command_lines[child] = command_line.decode(errors="replace").split("\0")
    return command_lines


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes, of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def watch_tasks(build: Running) -> Iterator[Callable[[], list[Any]]]:
    """A function that lists the tasks in progress (`TaskInProgress`) of a build on its own Ray."""
    assert build.until(lambda: build.address() is not None)
    with watch_tasks_at(str(build.address()), build) as tasks:
        yield tasks


@contextmanager
def watch_tasks_at(address: str, build: Running) -> Iterator[Callable[[], list[Any]]]:
    """The same for a build on the Ray at an address."""
    import ray

    ray.init(address, logging_level="ERROR", log_to_driver=False)
    try:
        actors: list[Any] = []
        assert build.until(
            lambda: bool(actors.extend(ray.util.list_named_actors(all_namespaces=True)) or actors)
        )
        supervisor: Any = ray.get_actor("supervisor", actors[0]["namespace"])
        yield lambda: [task for task, _ in ray.get(supervisor.state.remote(), timeout=60).in_progress]
    finally:
        ray.shutdown()
