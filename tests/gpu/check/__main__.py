"""What a GPU computes and how fast, in eight minutes, compared with a CPU where that is possible.

    python -m tests.gpu.check [--device cpu --tiny] [--steps products attention] [--output FOLDER]

Steps run in order of worth, each in a process of its own with a time limit. FOLDER gets a JSON file per step,
written as the step goes, and `results.json` with all of them after each step: a run that is cut off loses
nothing. Exit code 1 if a step failed or found something wrong; a step that can't run here says why.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tests.gpu.check.setting import Facts
from tests.gpu.check.steps import STEPS, Step

ROOT = Path(__file__).parents[3]
MINUTES = 8
"""What the limits of the steps are made for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models and inputs")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for everything")
    parser.add_argument("--steps", nargs="+", choices=[step.name for step in STEPS], metavar="STEP")
    parser.add_argument("--output", type=Path, default=Path("build/gpu-check"), metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results: Facts = {"machine": machine(arguments.device)}
    until = time.monotonic() + 60 * arguments.minutes
    for step in STEPS:
        if arguments.steps and step.name not in arguments.steps:
            continue
        began = time.monotonic()
        file = arguments.output / f"{step.name}.json"
        facts = run(step, arguments, min(step.seconds * arguments.minutes / MINUTES, until - began), file)
        results[step.name] = facts | {"seconds": round(time.monotonic() - began, 1)}
        for path, content in ((file, results[step.name]), (arguments.output / "results.json", results)):
            path.write_text(json.dumps(content, indent=1) + "\n")
        print(f"{step.name}: {json.dumps(results[step.name])}", flush=True)
    bad = [name for name, facts in results.items() if is_bad(facts)]
    print(f"{arguments.output / 'results.json'}: " + (f"look at {', '.join(bad)}" if bad else "all is well"))
    sys.exit(bool(bad))


def run(step: Step, arguments: argparse.Namespace, seconds: float, file: Path) -> Facts:
    """The facts of a step, which is stopped after so many seconds."""
    file.unlink(missing_ok=True)
    if seconds <= 0:
        return {"ended": "can't run: no time is left"}
    size = "tiny" if arguments.tiny else "full"
    command = [sys.executable, "-m", "tests.gpu.check.run_step", step.name, arguments.device, size]
    environment = dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": ""} if arguments.device == "cpu" else {})
    process = subprocess.Popen([*command, str(seconds), str(file)], env=environment, cwd=ROOT)
    try:
        code: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        code = None
    facts: Facts = json.loads(file.read_text()) if file.exists() else {}
    if "ended" not in facts:
        facts["ended"] = (
            f"out of time after {seconds:.0f} s"
            if code is None
            else f"failed: it ended with exit code {code}"
        )
    return facts


def is_bad(facts: Facts) -> bool:
    return "wrong" in facts or str(facts.get("ended")).startswith("failed")


def machine(device: str) -> Facts:
    """What the machine is, as a process of its own finds it: this one holds no GPU."""
    asked = (
        "import json, torch; gpu = torch.cuda.is_available() and torch.cuda.get_device_properties(0); "
        "print(json.dumps({'torch': torch.__version__, 'cuda': torch.version.cuda, 'gpu': gpu and gpu.name, "
        "'gpu_gb': gpu and round(gpu.total_memory / 1e9)}))"
    )
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    facts: Facts = json.loads(found.stdout)
    if device == "cuda" and not facts["gpu"]:
        sys.exit("there is no GPU here: try the check with --device cpu --tiny")
    return facts | {"python": platform.python_version(), "cores": len(os.sched_getaffinity(0))}


if __name__ == "__main__":
    main()
