"""Compares a dataset version with a folder of recordings that have reference annotations.

    aqaa-data build recipe.yaml --input DATA
    python tests/benchmarks/quality.py DATA out/name

DATA holds a MANIFEST.jsonl with `path`, `kind` and, where known, `rttm`, `transcript`, `transcript_kind`,
`language`, `same_as` and, for broken files, `expect`. Prints the diarization error rate of every
recording that has an RTTM (from `export --format rttm`), the word or character error rate of the kept
turns of the gold utterances and the share kept, and the outcome for every container and every broken
file.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from error_rates import error_rate

from pipeline.export.names import file_name
from pipeline.export.run import export
from pipeline.versions.reader import Reference, open_version

OUTCOMES = {
    "reject": {"set_aside"},
    "no_speech": {"set_aside"},
    "accept": {"kept"},
    "accept_partial": {"kept"},
}
"""Outcomes that an `expect` allows; other values, such as `accept_or_reject`, allow both."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("dataset", help="dataset reference")
    parser.add_argument("--json", type=Path, help="also write all results to this file")
    arguments = parser.parse_args()
    manifest = [json.loads(line) for line in (arguments.data / "MANIFEST.jsonl").open(encoding="utf-8")]
    version = open_version(Reference.parse(arguments.dataset))
    with version.table("turns") as table:
        columns = ["recording", "status", "text", "start", "end", "transcript"]
        rows = table.to_table(columns=columns).to_pylist()
    turns: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        turns[row["recording"]].append(row)
    with version.table("set_aside") as table:
        aside = {r["recording"]: r for r in table.to_table().to_pylist() if r["turn"] is None}
    counts = version.manifest.recordings
    print(f"recordings: {counts.in_} in = {counts.kept} kept + {counts.set_aside} set aside")
    results = {
        "version": version.id,
        "der": diarization(arguments.data, manifest, version),
        "error_rates": transcription(manifest, turns),
        "formats": formats(manifest, turns, aside),
        "bad": bad(manifest, turns, aside),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))


def diarization(data: Path, manifest: list[dict[str, Any]], version: Any) -> dict[str, float]:
    """DER in percent by recording: collar 0.5 s in total, overlapping reference speech excluded."""
    from pyannote.core import Segment, Timeline
    from pyannote.database.util import load_rttm
    from pyannote.metrics.diarization import DiarizationErrorRate

    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        export(version, "rttm", Path(folder))
        for item in manifest:
            if not item.get("rttm"):
                continue
            (reference,) = load_rttm(data / item["rttm"]).values()
            (hypothesis,) = load_rttm(Path(folder) / f"{file_name(item['path'])}.rttm").values()
            metric = DiarizationErrorRate(collar=0.5, skip_overlap=True)
            uem = Timeline([Segment(0, item["duration_s"])])
            rates[item["path"]] = 100 * metric(reference, hypothesis, uem=uem)
    for path, rate in rates.items():
        print(f"DER  {path:<55} {rate:5.1f} %")
    print(f"DER  mean{'':<51} {sum(rates.values()) / len(rates):5.1f} %")
    return rates


def transcription(manifest: list[dict[str, Any]], turns: dict[str, Any]) -> dict[str, Any]:
    """Error rate of the gold utterances by language, and the share of their turns that was kept."""
    gold = [
        item
        for item in manifest
        if item["transcript_kind"].startswith("gold")
        and item["kind"] == "utterance"
        and item["path"] in turns
    ]
    rates = {}
    for language in sorted({item["language"] for item in gold}):
        own = [item for item in gold if item["language"] == language]
        pairs = [
            (item["transcript"], _text(turns[item["path"]])) for item in own if _text(turns[item["path"]])
        ]
        everything = [t for item in own for t in turns[item["path"]]]
        kept = [t for t in everything if t["status"] != "set_aside"]
        kind, rate = error_rate(language, pairs)
        rates[language] = {"kind": kind, "rate": rate, "recordings": len(pairs), "of": len(own)}
        print(
            f"{kind}  {language}: {100 * rate:.1f} % over {len(pairs)} of {len(own)} gold utterances; "
            f"{len(kept)} of {len(everything)} turns kept, "
            f"{_seconds(kept) / max(_seconds(everything), 1e-9):.1%} of their time"
        )
    return rates


def formats(manifest: list[dict[str, Any]], turns: dict[str, Any], aside: dict[str, Any]) -> dict[str, Any]:
    """Every container: whether it was kept, and its word errors against its source file."""
    outcome = {}
    for item in manifest:
        if not item["path"].startswith("formats/"):
            continue
        text = _text(turns.get(item["path"], []))
        source = item.get("same_as")
        against = _words_until(turns.get(source, []), item["duration_s"]) if source else ""
        rate = error_rate(item["language"] or "en", [(against, text)])[1] if text and against else None
        outcome[item["path"]] = {"kept": bool(text), "rate_against_source": rate}
        state = "kept" if text else f"set aside: {aside.get(item['path'], {}).get('message')}"
        difference = "" if rate is None else f", {100 * rate:.0f} % errors against its source"
        print(f"format {item['path']:<58} {state}{difference}")
    return outcome


def bad(manifest: list[dict[str, Any]], turns: dict[str, Any], aside: dict[str, Any]) -> dict[str, Any]:
    """Every broken file, compared with what the manifest expects."""
    outcome = {}
    for item in manifest:
        if item["kind"] != "bad":
            continue
        state = "set_aside" if item["path"] in aside else "kept" if item["path"] in turns else "skipped"
        right = state in OUTCOMES.get(item["expect"], {"kept", "set_aside", "skipped"})
        outcome[item["path"]] = {"state": state, "right": right}
        reason = aside[item["path"]]["message"] if state == "set_aside" else ""
        print(
            f"bad  {'ok   ' if right else 'WRONG'} {item['path']:<28} {item['expect']:<26} {state} {reason}"
        )
    return outcome


def _text(turns: list[dict[str, Any]]) -> str:
    kept = [t for t in sorted(turns, key=lambda t: t["start"]) if t["status"] != "set_aside"]
    return " ".join(t["text"].strip() for t in kept if t["text"])


def _words_until(turns: list[dict[str, Any]], end: float) -> str:
    """The words that start before `end` seconds: some containers hold only the first part of their source."""
    return "".join(
        word["text"]
        for turn in turns
        for word in (turn["transcript"] or {}).get("words", [])
        if word["start"] < end
    )


def _seconds(turns: list[dict[str, Any]]) -> float:
    return sum(t["end"] - t["start"] for t in turns)


if __name__ == "__main__":
    main()
