"""The fault campaign: builds that are killed, run out of disk or get errors from the store, by seed.

`python tests/faults/campaign.py OUT [CASE ..]` runs the named cases (default: all) that aren't in
OUT/results.jsonl yet and prints the table. After the fault the same command runs again until it succeeds: the
version must be identical to the undisturbed one, and a build that ended early must have printed one message.
"""

import argparse
import json
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.builds import STAGES, TIMEOUT, BuildResult, Running, command, contents, running
from tests.faults.recipes import Few, build_undisturbed
from tests.object_storage import Fault, Proxy, Server, access, faulty, seaweedfs

KINDS = {
    "driver": ("", signal.SIGKILL),
    "SIGTERM": ("", signal.SIGTERM),
    "worker": ("ray::MapWorker", signal.SIGKILL),
    "raylet": ("raylet", signal.SIGKILL),
}
"""Fault -> program to kill (the driver if empty) and signal."""

PHASES = ("list", *STAGES, "pack", "publish")


@dataclass(frozen=True)
class Case:
    name: str
    fault: str
    phase: str
    seed: int


@dataclass(frozen=True)
class Result:
    case: str
    fault: str
    phase: str
    struck: bool
    """Whether the fault hit a running build."""
    first: str
    """How the disturbed build ended: `published`, or its message."""
    again: int
    """Number of further runs that were needed."""
    identical: bool
    seconds: float


def kills() -> list[Case]:
    """Every kind of kill in every phase; workers and raylets only run during the stages."""
    cases = []
    for phase in PHASES:
        for kind in KINDS if phase in STAGES else ("driver", "SIGTERM"):
            cases.append(Case(f"{kind}-{phase}", kind, phase, len(cases) + 1))
    return cases


STORE: dict[str, Callable[[float], Fault | None] | None] = {
    "500": lambda draw: Fault(status=500) if draw < 0.15 else None,
    "503": lambda draw: Fault(status=503) if draw < 0.3 else None,
    "reset before": lambda draw: Fault(reset="before") if draw < 0.1 else None,
    "reset after": lambda draw: Fault(reset="after") if draw < 0.1 else None,
    "reset in the middle": lambda draw: Fault(reset="middle") if draw < 0.1 else None,
    "slow": lambda draw: Fault(delay=1.0) if draw < 0.3 else None,
    "403 in mid-run": None,
}
"""Fault of a request, given a random number from [0, 1)."""

DISKS = {"full output": "pack", "full scratch": "decode"}
"""Which disk is full -> phase in which the build notices."""

CASES = [
    *kills(),
    *(Case(f"{name}-{phase}", name, phase, 100) for name in STORE for phase in ("all", "pack")),
    *(Case(name, name, phase, 0) for name, phase in DISKS.items()),
]


def run(case: Case, few: Few, folder: Path, server: Callable[[], Server]) -> Result:
    """Run a case in a new folder."""
    started = time.monotonic()
    if case.fault in KINDS:
        result = _killed(case, few, folder)
    elif case.fault in DISKS:
        result = _full(case, few, folder)
    else:
        result = _refused(case, few, folder, server())
    return replace(result, seconds=round(time.monotonic() - started, 1))


def _killed(case: Case, few: Few, folder: Path) -> Result:
    """A build that resumes before the phase, is killed in it, and resumes again."""
    draw = random.Random(case.seed)
    dataset = folder / "out" / "few"
    if case.phase != "list":
        few.with_annotations(dataset, before=case.phase)
    arguments = ("--output", folder / "out", "--set", f"scratch={folder / 'scratch'}")
    with running(few.recipe, *arguments) as build:
        loading = draw.random() < 0.5
        struck = build.until(lambda: reached(case.phase, loading, build, dataset, few))
        max_delay = {"list": 3.0, "pack": 0.3, "publish": 0.05}.get(case.phase, 6.0 if loading else 0.2)
        time.sleep(draw.uniform(0, max_delay))
        struck = struck and not build.ended and build.kill(*KINDS[case.fault])
        first = build.wait()
    return _afterwards(case, few, folder, arguments, first, struck)


def reached(phase: str, loading: bool, build: Running, dataset: Path, few: Few) -> bool:
    """Whether a build has reached a phase; a stage, while it loads models or after its first unit."""
    if phase == "list":
        return True
    if phase == "publish":
        return any(dataset.glob("versions/*/shards"))
    if phase == "pack":
        return any(dataset.glob("packs/*"))
    committed = any(dataset.glob(f"annotations/{few.stages[phase]}/*.parquet"))
    return bool(build.named("ray::MapWorker")) if loading else committed


def _full(case: Case, few: Few, folder: Path) -> Result:
    """A build whose scratch is on a tiny disk, or whose output disk fills up while it packs."""
    disk = folder / "disk"
    few.with_annotations(folder / "annotated" / "few", before=case.phase)
    folders = {"out": folder / "out", "scratch": folder / "scratch"}
    folders[case.fault.removeprefix("full ").replace("output", "out")] = disk
    arguments = ("--output", folders["out"], "--set", f"scratch={folders['scratch']}")
    size, fill = "64k", "true"  # smaller than one decoded recording
    if case.fault == "full output":
        leased = (
            f"for i in {{1..9999}}; do ls {disk}/few/leases/* > /dev/null 2>&1 && break; sleep 0.05; done"
        )
        fill = f"cp -r {folder}/annotated/few {disk}/few; ({leased}; cat /dev/zero > {disk}/other) &"
        size = "80m"
    build = shlex.join(command(few.recipe, *arguments))
    script = f"mkdir {disk}; mount -t tmpfs -o size={size} none {disk}; {fill}\n{build}"
    isolated = ["unshare", "-rm", "bash", "-c", script]
    done = subprocess.run(isolated, capture_output=True, text=True, timeout=TIMEOUT)
    first = BuildResult(done.returncode, done.stdout, done.stderr)
    return _afterwards(case, few, folder, arguments, first, struck=True)


def _refused(case: Case, few: Few, folder: Path, server: Server) -> Result:
    """A build from and to a faulty store, or only its pack phase."""
    bucket = server.bucket("-".join(case.name.split()).lower())
    arguments: tuple[object, ...] = ("--output", f"{bucket}/out", "--set", f"scratch={folder / 'scratch'}")
    if case.phase == "pack":
        few.with_annotations(folder / "out" / "few", before="pack")
        upload(folder / "out", server, bucket)
    else:
        upload(few.inputs, server, bucket)
        arguments += ("--input", f"{bucket}/in")
    draw = random.Random(case.seed)
    with faulty(server) as proxy:
        chosen = STORE[case.fault] or forbidden_after(proxy, 60 if case.phase == "all" else 30)
        proxy.fault = lambda method, path: chosen(draw.random())
        environment = access(proxy.endpoint)
        with running(few.recipe, *arguments, environment=environment) as build:
            first = build.wait()
        proxy.fault = lambda method, path: None
        return _afterwards(case, few, folder, arguments, first, True, environment, server)


def upload(folder: Path, server: Server, bucket: str) -> None:
    for file in filter(Path.is_file, folder.rglob("*")):
        key = f"{folder.name}/{file.relative_to(folder)}"
        server.client().upload_file(str(file), bucket.removeprefix("s3://"), key)


def forbidden_after(proxy: Proxy, requests: int) -> Callable[[float], Fault | None]:
    """Credentials that expire after a number of requests."""
    return lambda draw: Fault(status=403) if len(proxy.seen) > requests else None


def _afterwards(
    case: Case,
    few: Few,
    folder: Path,
    arguments: tuple[object, ...],
    first: BuildResult,
    struck: bool,
    environment: dict[str, str] | None = None,
    server: Server | None = None,
) -> Result:
    """Run the same command until it succeeds, and compare the version."""
    last, again = first, 0
    while last.code != 0 and again < 2:
        with running(few.recipe, *arguments, environment=environment) as build:
            last = build.wait()
        again += 1
    identical = last.code == 0 and last.output["version"] == few.version
    if identical and server is None:
        output = Path(str(arguments[1])) / "few" / "versions" / few.version
        identical = contents(output) == few.files
    return Result(case.name, case.fault, case.phase, struck, outcome(first), again, identical, 0.0)


def outcome(ended: BuildResult) -> str:
    """`published`, or the message; a traceback doesn't count as one."""
    if ended.code == 0:
        return "published"
    if "Traceback" in ended.stderr:
        return f"TRACEBACK: {ended.message}"
    return ended.message or f"ended by signal {-ended.code}"


def table(results: list[Result]) -> str:
    """The table of tests/benchmarks/RESULTS.md: one line per kind of fault."""
    lines = ["| fault | runs | hit | recovered by itself | ended with a message | identical in the end |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for fault in dict.fromkeys(result.fault for result in results):
        some = [result for result in results if result.fault == fault]
        recovered = sum(result.first == "published" for result in some)
        silent = ("TRACEBACK", "ended by signal")
        reported = sum(result.first != "published" and not result.first.startswith(silent) for result in some)
        struck, identical = sum(r.struck for r in some), sum(r.identical for r in some)
        lines.append(f"| {fault} | {len(some)} | {struck} | {recovered} | {reported} | {identical} |")
    return "\n".join(lines)


def main(out: Path, names: list[str]) -> int:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.jsonl"
    results = [Result(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    done = {result.case for result in results}
    todo = [case for case in CASES if case.name not in done and (not names or case.name in names)]
    few = build_undisturbed(out / "few")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=out)))
        server = cache(lambda: stack.enter_context(seaweedfs(new(scratch / "s3"))))
        for case in todo:
            result = run(case, few, new(scratch / case.name.replace(" ", "-")), server)
            print(
                f"{result.case}: {result.first}; identical: {result.identical}", file=sys.stderr, flush=True
            )
            with file.open("a") as log:
                log.write(json.dumps(asdict(result)) + "\n")
            results.append(result)
    print(table(results))
    return 0 if all(result.identical for result in results) else 1


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    sys.exit(main(arguments.out, arguments.cases))
