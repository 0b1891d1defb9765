"""The same build on local files and on a local S3 server, alternating: how much slower is the store?

    python -m tests.benchmarks.store_time RECIPE RECORDINGS FOLDER [--times 2] [--set transcribe.model=..]

Prints for each build the seconds of annotate (without start-up and loading), pack and publish and the CPU
seconds of its stages, and the ratio of the sums.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipeline.storage.store import Store
from tests.object_storage import access, seaweedfs


def build(recipe: Path, inputs: str, output: str, settings: list[str]) -> dict[str, float]:
    command = [str(Path(sys.executable).with_name("aqaa-data")), "build", str(recipe), "--json"]
    command += ["--input", inputs, "--output", output]
    command += [option for setting in settings for option in ("--set", setting)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    seconds = result["seconds"]
    work = seconds["annotate"] - seconds["load"] + seconds["pack"] + seconds["publish"]
    cpu = sum(row["cpu_seconds"] for row in result["stages"])
    return {"work": round(work, 2), "stages_cpu": round(cpu, 2), "version": result["version"]} | seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    with seaweedfs(arguments.folder) as server:
        os.environ |= access(server.endpoint)
        bucket = server.bucket("builds")
        for path in arguments.recordings.rglob("*.*"):
            Store(f"{bucket}/in").put_new(str(path.relative_to(arguments.recordings)), path)
        spent: dict[str, list[dict[str, float]]] = {"local": [], "store": []}
        for turn in range(arguments.times):
            spent["local"].append(
                build(
                    arguments.recipe,
                    str(arguments.recordings),
                    f"{arguments.folder}/out-{turn}",
                    arguments.settings,
                )
            )
            spent["store"].append(
                build(arguments.recipe, f"{bucket}/in", f"{bucket}/out-{turn}", arguments.settings)
            )
    sums = {kind: sum(one["work"] for one in builds) for kind, builds in spent.items()}
    print(json.dumps(spent | {"ratio": round(sums["store"] / sums["local"], 3)}, indent=1))


if __name__ == "__main__":
    main()
