"""The check of a GPU as one folder, for a machine with a GPU and without a package index.

    python -m tests.gpu.bundle FOLDER [--python 3.12]
    bash FOLDER/run.sh [--output RESULTS]       # on the machine; other options are those of tests.gpu.check

That machine has Python, PyTorch, transformers, Triton, NumPy, SciPy, numba and pyarrow. FOLDER gets the code
and wheels, of the versions that are pinned here, of what else the steps import. It must be smaller than
64 MiB, and has no CTranslate2, whose cuBLAS would be larger: where they aren't installed, the step says so.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_BYTES = 64 * 1024**2

CODE = (
    "schemas",
    "stages",
    "pipeline",
    "tests/gpu",
    "tests/stages",
    "tests/benchmarks",
    "tests/paths.py",
    "tests/recordings/demo/monologues",
)
"""Folders and files of the repository that the steps need."""
LEFT_OUT = re.compile(r"\.(safetensors|npz|html|md)$|^tests/gpu/(bundle|test_)")
"""Trained weights, because the steps draw random ones, and pages."""

WHEELS = (
    "annotated-types",
    "audioread",
    "cffi",
    "decorator",
    "lazy-loader",
    "librosa",
    "msgpack",
    "platformdirs",
    "pooch",
    "pycparser",
    "pydantic",
    "pydantic-core",
    "soundfile",
    "soxr",
    "typing-inspection",
)
"""What the machine may lack."""
PLATFORMS = tuple(f"manylinux{version}_x86_64" for version in ("_2_28", "_2_27", "_2_24", "_2_17", "2014"))

RUN = """#!/usr/bin/env bash
# Run the check of a GPU; nothing is installed outside this folder.
set -e
cd "$(dirname "$0")"
[ -d site ] || python3 -m pip install --quiet --no-index --no-deps --target site wheels/*.whl
# What the machine has is preferred.
exec env PYTHONPATH=. python3 -c '
import runpy, sys
sys.path.append("site")
import os
os.environ["PYTHONPATH"] = os.pathsep.join([".", *(path for path in sys.path if path), "site"])
runpy.run_module("tests.gpu.check", run_name="__main__")
' "$@"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new")
    parser.add_argument("--python", default="3.12", metavar="VERSION", help="that of the machine")
    arguments = parser.parse_args()
    try:
        arguments.folder.mkdir(parents=True)
    except OSError as error:
        sys.exit(f"{arguments.folder}: {error.strerror}: name a new folder")
    bundle(arguments.folder, arguments.python)
    size = sum(file.stat().st_size for file in arguments.folder.rglob("*") if file.is_file())
    print(f"{arguments.folder}: {size / 1024**2:.1f} MiB; run it with bash {arguments.folder}/run.sh")
    if size > MOST_BYTES:
        sys.exit(f"that is more than {MOST_BYTES / 1024**2:g} MiB: leave out wheels or recordings")


def bundle(folder: Path, python: str) -> None:
    """Write the code, the wheels and `run.sh`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not LEFT_OUT.search(name):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    download(pinned(), python, folder / "wheels")
    (folder / "run.sh").write_text(RUN)


def pinned() -> list[str]:
    """The requirements of the wheels, of the versions in constraints.txt."""
    pins = dict(
        re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    )
    return [f"{name}=={pins[name]}" for name in WHEELS]


def download(requirements: list[str], python: str, folder: Path) -> None:
    """Download wheels for Linux on x86-64."""
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", python, *platforms, "--dest", str(folder)]
    subprocess.run([*command, *requirements], check=True)


if __name__ == "__main__":
    main()
