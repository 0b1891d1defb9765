"""Builds as processes of their own, to be killed: the driver, its Ray, its workers."""

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

LONGEST = 900.0
"""Seconds after which a build counts as hung."""

STAGES = ("decode", "diarize", "transcribe", "quality", "tokenize")


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> dict[str, Any]:
        """What `--json` printed."""
        assert self.code == 0, self.stderr
        return dict(json.loads(self.stdout))

    @property
    def message(self) -> str:
        """The last line, which tells the user what happened."""
        return (self.stderr.strip().splitlines() or [""])[-1]


def command(recipe: Path, *arguments: object) -> list[str]:
    return [COMMAND, "build", str(recipe), "--json", *map(str, arguments)]


class Running:
    """A build that runs, with all that it started."""

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
    def over(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> Ended:
        """Raises subprocess.TimeoutExpired where it hangs."""
        stdout, stderr = self.process.communicate(timeout=LONGEST)
        return Ended(self.process.returncode, stdout, stderr)

    def until(self, happened: Callable[[], bool]) -> bool:
        """Wait until something happened; False where the build ended before."""
        end = time.monotonic() + LONGEST
        while not happened():
            if self.over or time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def kill(self, name: str = "", number: signal.Signals = signal.SIGKILL) -> bool:
        """Signal the driver, or the first process below it whose command line begins with a name."""
        if not name:
            self.process.send_signal(number)
            return True
        for pid in self.named(name):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
        return False

    def named(self, name: str) -> list[int]:
        """Ids of the processes below the driver whose program has a name that begins so."""
        return [
            pid
            for pid, said in sorted(below(self.process.pid).items())
            if said[0].rpartition("/")[2].startswith(name)
        ]

    def address(self) -> str | None:
        """Where this build's own Ray is reached, once it is up."""
        for said in below(self.process.pid).values():
            if said[0].endswith("/raylet"):
                return next(word.partition("=")[2] for word in said if word.startswith("--gcs-address="))
        return None


@contextmanager
def running(recipe: Path, *arguments: object, **options: Any) -> Iterator[Running]:
    """A build; nothing of it is left when the context ends."""
    build = Running(recipe, *arguments, **options)
    try:
        yield build
    finally:
        left = below(build.process.pid)
        for pid in (build.process.pid, *left):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        build.process.wait()


def below(pid: int) -> dict[int, list[str]]:
    """Process id -> command line, of all processes that one started, at any depth."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                # Behind the name, which may hold anything: state, parent.
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, list[str]] = {}
    for child in parents:
        above = child
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and child != pid:
            with suppress(OSError):
                said = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
                found[child] = said
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def watched(build: Running) -> Iterator[Callable[[], list[Any]]]:
    """What the workers of a build on its own Ray have in hand: a call gives a list of `TaskInProgress`."""
    assert build.until(lambda: build.address() is not None)
    with watched_at(str(build.address()), build) as in_hand:
        yield in_hand


@contextmanager
def watched_at(address: str, build: Running) -> Iterator[Callable[[], list[Any]]]:
    """The same of a build on the Ray at an address."""
    import ray

    ray.init(address, logging_level="ERROR", log_to_driver=False)
    try:
        found: list[Any] = []
        assert build.until(
            lambda: bool(found.extend(ray.util.list_named_actors(all_namespaces=True)) or found)
        )
        supervisor: Any = ray.get_actor("supervisor", found[0]["namespace"])
        yield lambda: [task for task, _ in ray.get(supervisor.state.remote(), timeout=60).in_progress]
    finally:
        ray.shutdown()
