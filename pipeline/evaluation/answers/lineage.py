"""Records an evaluation with the version that a checkpoint was trained from, and in its model card."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config.recipe import digest
from pipeline.evaluation.answers.kept import REPORT, write_whole
from pipeline.storage.store import Store
from pipeline.versions.gc import record_use
from pipeline.versions.provenance import TRAINED_FROM
from pipeline.versions.reader import version_ids
from schemas.errors import SetupError

CARD = "README.md"
EVALUATIONS = "evaluations.json"
"""Beside the weights: the evaluations that the card lists."""
_BEGIN, _END = "<!-- evaluations -->", "<!-- end of evaluations -->"


def note(
    about: dict[str, Any], results: dict[str, Any], model: str, out: Path, say: Callable[[str], None]
) -> None:
    """Record an evaluation of a checkpoint; other models have no place for that."""
    if about["kind"] != "checkpoint":
        return
    checkpoint = Path(about["place"])
    record = _record(about, results, model, out)
    try:
        _write_card(checkpoint, record)
    except (OSError, SetupError) as error:
        say(f"{checkpoint}: the evaluation isn't in its model card, which can't be written: {error}")
    # Written once: without what the next run of the same evaluation may change.
    lasting = {
        name: value for name, value in record.items() if name not in ("scores", "rows", "code_version")
    }
    for store, version in _trained_from(checkpoint):
        try:
            if version in version_ids(store):
                use = f"evaluation-{digest(lasting)[:8]}.json"
                record_use(store, version, use, json.dumps(lasting).encode())
        except (OSError, SetupError) as error:
            say(f"the evaluation isn't listed by the version {version}, which can't be reached: {error}")


def _record(about: dict[str, Any], results: dict[str, Any], model: str, out: Path) -> dict[str, Any]:
    own, judge, benchmark = results["models"][model], results["judge"], results["benchmark"]
    return {
        "kind": "evaluation",
        "run": out.resolve().as_uri(),
        "checkpoint": about["place"],
        "sha256": about["sha256"],
        "benchmark": f"{benchmark['name']}@{benchmark['version']}",
        "rows": own["answered"],
        "judge": judge["kind"] if judge["kind"] == "rules" else f"{judge['model']} at {judge['place']}",
        "rubrics": judge.get("rubrics"),
        "scores": {
            name: round(estimate["value"], 4) for name, estimate in own["overall"].items() if estimate
        },
        "code_version": results["code_version"],
    }


def _trained_from(checkpoint: Path) -> list[tuple[Store, str]]:
    """The versions that a checkpoint of `train` was trained from, also those of a merged one."""
    stages = [checkpoint.parent]
    merged = checkpoint.parent / "run.json"
    if merged.is_file():
        inputs = json.loads(merged.read_text(encoding="utf-8")).get("inputs", ())
        stages += [Path(each["directory"]).parent for each in inputs]
    found = []
    for file in (stage / TRAINED_FROM for stage in stages):
        if file.is_file():
            place = json.loads(file.read_text(encoding="utf-8"))
            found.append((Store(place["uri"]), place["version"]))
    return found


def _write_card(checkpoint: Path, record: dict[str, Any]) -> None:
    """Add an evaluation to a checkpoint's model card; what others wrote there stays."""
    stored = checkpoint / EVALUATIONS
    records = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else []
    records = [each for each in records if each["run"] != record["run"]] + [record]
    write_whole(stored, (json.dumps(records, indent=1) + "\n").encode())
    file = checkpoint / CARD
    text = file.read_text(encoding="utf-8") if file.exists() else f"# {checkpoint.parent.name}\n"
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = "\n".join(_line(each) for each in records)
    head = "| benchmark | judge | rows | scores | report |\n| --- | --- | ---: | --- | --- |"
    section = f"{_BEGIN}\n\n## Evaluations\n\n{head}\n{table}\n\n{_END}"
    write_whole(file, f"{before.rstrip()}\n\n{section}{after or chr(10)}".encode())


def _line(record: dict[str, Any]) -> str:
    scores = ", ".join(f"{name} {value:g}" for name, value in record["scores"].items())
    cells = (record["benchmark"], record["judge"], record["rows"], scores, f"{record['run']}/{REPORT}")
    return f"| {' | '.join(map(str, cells))} |"
