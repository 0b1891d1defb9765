"""Plain faster-whisper, one file at a time with its defaults: the baseline of the transcribe stage.

    python tests/benchmarks/plain_transcription.py MANIFEST.jsonl MODEL_DIR [--compute-type float32]

MANIFEST has one JSON line per recording with `path` (relative to the manifest), `transcript` and `language`;
other lines are skipped. `--kind utterance` keeps only lines of that `kind`, `--gold` only those whose
`transcript_kind` starts with gold. Prints the word error rate of each language (the character error rate for
languages written without spaces) and the CPU seconds per minute of audio.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

from error_rates import error_rate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("model", type=Path, help="directory with the faster-whisper files")
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--kind", help="only this kind of file")
    parser.add_argument("--gold", action="store_true", help="only transcripts written by people")
    parser.add_argument("--out", type=Path, help="write one JSON line per file with its transcript")
    args = parser.parse_args()

    from faster_whisper import WhisperModel

    model = WhisperModel(str(args.model), device="cpu", compute_type=args.compute_type, cpu_threads=1)
    transcripts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seconds, cpu, lines = 0.0, time.process_time(), []
    for item in map(json.loads, args.manifest.open(encoding="utf-8")):
        if not item.get("transcript") or not item.get("language"):
            continue
        if (args.kind and item.get("kind") != args.kind) or (
            args.gold and not item["transcript_kind"].startswith("gold")
        ):
            continue
        segments, info = model.transcribe(str(args.manifest.parent / item["path"]))
        text = "".join(segment.text for segment in segments).strip()
        transcripts[item["language"]].append((item["transcript"], text))
        seconds += info.duration
        lines.append({"path": item["path"], "language": item["language"], "heard": text})
    cpu = time.process_time() - cpu

    for language, pairs in sorted(transcripts.items()):
        name, rate = error_rate(language, pairs)
        print(f"{language}  {len(pairs):4d} files  {name} {rate:6.2%}")
    print(f"{seconds:.0f} s of audio, {cpu / seconds * 60:.1f} CPU seconds per minute ({args.compute_type})")
    if args.out:
        args.out.write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
