"""The fault campaign: builds that are killed, starved and refused, each drawn from a seed.

`python tests/faults/campaign.py OUT [CASE ..]` runs the cases (all, without names) that OUT/results.jsonl
doesn't hold yet and prints the table. After its fault the same command runs again until it is done: the
version must be the undisturbed one to the byte, and what ended early must have said why in one message.
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

from tests.faults.builds import LONGEST, STAGES, Ended, Running, command, contents, running
from tests.faults.recipes import Few, undisturbed
from tests.object_storage import KEY, SECRET, Fault, Proxy, Server, faulty, seaweedfs

KINDS = {
    "driver": ("", signal.SIGKILL),
    "SIGTERM": ("", signal.SIGTERM),
    "worker": ("ray::MapWorker", signal.SIGKILL),
    "raylet": ("raylet", signal.SIGKILL),
}
"""What is killed: the program, and by what."""

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
    """The fault met a running build."""
    first: str
    """How the disturbed build ended: `published`, or what it said."""
    again: int
    """How often the command had to run again."""
    identical: bool
    seconds: float


def kills() -> list[Case]:
    """Every kind in every phase where it can be: workers and raylets are there in the stages alone."""
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
"""What happens to a request, by a draw from [0, 1)."""

DISKS = {"full output": "pack", "full scratch": "decode"}
"""What is full, and the phase in which it is met."""

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
    """A build that goes on from what is before the phase, is killed in it, and goes on again."""
    draw = random.Random(case.seed)
    dataset = folder / "out" / "few"
    if case.phase != "list":
        few.begun(dataset, before=case.phase)
    arguments = ("--output", folder / "out", "--set", f"scratch={folder / 'scratch'}")
    with running(few.recipe, *arguments) as build:
        loading = draw.random() < 0.5
        struck = build.until(lambda: reached(case.phase, loading, build, dataset, few))
        most = {"list": 3.0, "pack": 0.3, "publish": 0.05}.get(case.phase, 6.0 if loading else 0.2)
        time.sleep(draw.uniform(0, most))
        struck = struck and not build.over and build.kill(*KINDS[case.fault])
        first = build.wait()
    return _afterwards(case, few, folder, arguments, first, struck)


def reached(phase: str, loading: bool, build: Running, dataset: Path, few: Few) -> bool:
    """Whether a build is in a phase: of a stage, while it loads models or with a unit behind it."""
    if phase == "list":
        return True
    if phase == "publish":
        return any(dataset.glob("versions/*/shards"))
    if phase == "pack":
        return any(dataset.glob("packs/*"))
    committed = any(dataset.glob(f"annotations/{few.stages[phase]}/*.parquet"))
    return bool(build.named("ray::MapWorker")) if loading else committed


def _full(case: Case, few: Few, folder: Path) -> Result:
    """A build whose scratch lies on a tiny disk, or whose output's disk fills up as it packs."""
    disk = folder / "disk"
    few.begun(folder / "begun" / "few", before=case.phase)
    places = {"out": folder / "out", "scratch": folder / "scratch"}
    places[case.fault.removeprefix("full ").replace("output", "out")] = disk
    arguments = ("--output", places["out"], "--set", f"scratch={places['scratch']}")
    size, fill = "64k", "true"  # less than one of the recordings takes decoded
    if case.fault == "full output":
        leased = (
            f"for i in {{1..9999}}; do ls {disk}/few/leases/* > /dev/null 2>&1 && break; sleep 0.05; done"
        )
        fill = f"cp -r {folder}/begun/few {disk}/few; ({leased}; cat /dev/zero > {disk}/other) &"
        size = "80m"
    build = shlex.join(command(few.recipe, *arguments))
    script = f"mkdir {disk}; mount -t tmpfs -o size={size} none {disk}; {fill}\n{build}"
    asked = ["unshare", "-rm", "bash", "-c", script]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=LONGEST)
    first = Ended(done.returncode, done.stdout, done.stderr)
    return _afterwards(case, few, folder, arguments, first, struck=True)


def _refused(case: Case, few: Few, folder: Path, server: Server) -> Result:
    """A build from and to a store that makes trouble, or the packing alone of what is annotated."""
    bucket = server.bucket("-".join(case.name.split()).lower())
    arguments: tuple[object, ...] = ("--output", f"{bucket}/out", "--set", f"scratch={folder / 'scratch'}")
    if case.phase == "pack":
        few.begun(folder / "out" / "few", before="pack")
        upload(folder / "out", server, bucket)
    else:
        upload(few.inputs, server, bucket)
        arguments += ("--input", f"{bucket}/in")
    draw = random.Random(case.seed)
    with faulty(server) as proxy:
        chosen = STORE[case.fault] or forbidden_after(proxy, 60 if case.phase == "all" else 30)
        proxy.fault = lambda method, path: chosen(draw.random())
        environment = aws(proxy.endpoint)
        with running(few.recipe, *arguments, environment=environment) as build:
            first = build.wait()
        proxy.fault = lambda method, path: None
        return _afterwards(case, few, folder, arguments, first, True, environment, server)


def upload(folder: Path, server: Server, bucket: str) -> None:
    for file in filter(Path.is_file, folder.rglob("*")):
        key = f"{folder.name}/{file.relative_to(folder)}"
        server.client().upload_file(str(file), bucket.removeprefix("s3://"), key)


def forbidden_after(proxy: Proxy, requests: int) -> Callable[[float], Fault | None]:
    """Credentials that end after so many requests."""
    return lambda draw: Fault(status=403) if len(proxy.seen) > requests else None


def aws(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _afterwards(
    case: Case,
    few: Few,
    folder: Path,
    arguments: tuple[object, ...],
    first: Ended,
    struck: bool,
    environment: dict[str, str] | None = None,
    server: Server | None = None,
) -> Result:
    """Run the same command until it is done, and compare."""
    last, again = first, 0
    while last.code != 0 and again < 2:
        with running(few.recipe, *arguments, environment=environment) as build:
            last = build.wait()
        again += 1
    identical = last.code == 0 and last.said["version"] == few.version
    if identical and server is None:
        output = Path(str(arguments[1])) / "few" / "versions" / few.version
        identical = contents(output) == few.files
    return Result(case.name, case.fault, case.phase, struck, told(first), again, identical, 0.0)


def told(ended: Ended) -> str:
    """`published`, or the message; a traceback is none."""
    if ended.code == 0:
        return "published"
    if "Traceback" in ended.stderr:
        return f"TRACEBACK: {ended.message}"
    return ended.message or f"ended by signal {-ended.code}"


def table(results: list[Result]) -> str:
    """For tests/benchmarks/RESULTS.md: a line for each kind of fault."""
    lines = ["| fault | runs | struck | went on by itself | ended with a message | identical in the end |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for fault in dict.fromkeys(result.fault for result in results):
        some = [result for result in results if result.fault == fault]
        went_on = sum(result.first == "published" for result in some)
        silent = ("TRACEBACK", "ended by signal")
        spoke = sum(result.first != "published" and not result.first.startswith(silent) for result in some)
        struck, identical = sum(r.struck for r in some), sum(r.identical for r in some)
        lines.append(f"| {fault} | {len(some)} | {struck} | {went_on} | {spoke} | {identical} |")
    return "\n".join(lines)


def main(out: Path, names: list[str]) -> int:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.jsonl"
    results = [Result(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    done = {result.case for result in results}
    todo = [case for case in CASES if case.name not in done and (not names or case.name in names)]
    few = undisturbed(out / "few")
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
    given = parser.parse_args()
    sys.exit(main(given.out, given.cases))
