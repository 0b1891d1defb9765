"""The same build on local files and on an S3 server of this machine, in turns: how much slower is the store?

    python tests/benchmarks/store_time.py RECIPE RECORDINGS FOLDER [--times 2] [--set transcribe.model=..]

Prints for each build the seconds of annotate without start and loading, of pack and of publish, the processor
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
from tests.object_storage import KEY, SECRET, seaweedfs


def build(recipe: Path, inputs: str, output: str, settings: list[str]) -> dict[str, float]:
    command = [str(Path(sys.executable).with_name("aqaa-data")), "build", str(recipe), "--json"]
    command += ["--input", inputs, "--output", output]
    command += [option for setting in settings for option in ("--set", setting)]
    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    seconds = said["seconds"]
    work = seconds["annotate"] - seconds["load"] + seconds["pack"] + seconds["publish"]
    cpu = sum(row["cpu_seconds"] for row in said["stages"])
    return {"work": round(work, 2), "stages_cpu": round(cpu, 2), "version": said["version"]} | seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True)
    with seaweedfs(wanted.folder) as server:
        os.environ |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        bucket = server.bucket("builds")
        for path in wanted.recordings.rglob("*.*"):
            Store(f"{bucket}/in").put_new(str(path.relative_to(wanted.recordings)), path)
        spent: dict[str, list[dict[str, float]]] = {"local": [], "store": []}
        for turn in range(wanted.times):
            spent["local"].append(
                build(wanted.recipe, str(wanted.recordings), f"{wanted.folder}/out-{turn}", wanted.settings)
            )
            spent["store"].append(
                build(wanted.recipe, f"{bucket}/in", f"{bucket}/out-{turn}", wanted.settings)
            )
    sums = {kind: sum(one["work"] for one in builds) for kind, builds in spent.items()}
    print(json.dumps(spent | {"ratio": round(sums["store"] / sums["local"], 3)}, indent=1))


if __name__ == "__main__":
    main()
