"""Wall time of a build against a plain loop over the same models and turns, in one run.

    python tests/benchmarks/build_time.py recipe.yaml DATA --set name=timed --output out

The loop is one process that runs the same stages on one unit after another, two recordings at a time,
without Ray, ledger or shards: the compute that every pipeline needs. Start-up (imports, models) is excluded
from both: the loop's is timed separately, and the build's is what it reports itself, the start of Ray and the
time until every stage's first worker has loaded its models. (Decode already works during loading, so the
first ratio is somewhat too low and the second, which includes loading, too high.)
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from resources import PeakMemory

from pipeline.build.run import build
from pipeline.config.recipe import load
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from pipeline.planning.plan import Plan, make_plan
from schemas.recording import Unit

THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--output", help="keep the build here (default: deleted)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = [*arguments.settings, f"scratch={folder}/scratch"]
        output = arguments.output or f"{folder}/out"
        plan = make_plan(load(arguments.recipe, settings, arguments.data, output))
        loop = plain_loop(plan, Path(folder) / "loop")
        with PeakMemory() as memory:
            built = build(plan)
    seconds = built.seconds
    whole = seconds["total"] - seconds["start"]
    busy = whole - seconds["load"]
    print(json.dumps({"loop": loop, "build": seconds, "peak_memory_gb": memory.total / 1e9}))
    minutes = built.manifest.audio_seconds / 60
    print(f"{minutes:.1f} minutes of audio in {len(plan.units)} units")
    print(f"plain loop: {loop['work']:.0f} s of work, {loop['setup']:.0f} s of set-up")
    start, load_seconds = seconds["start"], seconds["load"]
    print(f"build:      {busy:.0f} s of work, {start:.0f} s for Ray, {load_seconds:.0f} s of set-up")
    both = whole / sum(loop.values())
    print(f"ratio:      {busy / loop['work']:.2f}, set-up included in both {both:.2f}")
    print(f"memory:     {memory.total / 1e9:.2f} GB in total, {memory.largest / 1e9:.2f} GB in one process")


def plain_loop(plan: Plan, scratch: Path) -> dict[str, float]:
    """Seconds of set-up and of work."""
    decode = plan.stages[0]
    audio = SpooledAudio(scratch, plan.recipe.decode, decode.fingerprint)
    began = time.monotonic()
    stages = []
    for planned in plan.stages:
        models = {m.reference: resolve(m.reference).path for m in planned.models}
        stage = planned.type(planned.config, audio, models, THREADS)
        stage.setup()
        stages.append(stage)
    ready = time.monotonic()
    for planned in plan.units:
        unit = Unit(planned.name, tuple(r.recording("{}") for r in planned.recordings))
        for stage in stages:
            unit = stage(unit)
    return {"setup": ready - began, "work": time.monotonic() - ready}


if __name__ == "__main__":
    main()
