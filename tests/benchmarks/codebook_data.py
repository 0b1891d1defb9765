"""Arranges the recordings that the shipped codebooks are fitted to, and those held out.

    python tests/benchmarks/codebook_data.py RECORDINGS SPOKEN --out DATA
    aqaa-data codebooks fit --input DATA/fit --holdout DATA/held --out DATA/codebooks --json

RECORDINGS is a directory with a MANIFEST.jsonl (path, licence), SPOKEN the output of speak_text.py. DATA
gets links to the recordings and sidecars with their licences. Held out are four readers, two conversations,
a Chinese sentence, Italian prompts, and every twentieth synthesized line in all styles.
"""

import argparse
import json
from pathlib import Path

FOLDERS = ("utterances", "conversations", "composed", "multilingual", "longform", "hard")
HELD = (
    "utterances/2414-",
    "utterances/2412-",
    "utterances/librivox_ss",
    "longform/sonnet001",
    "conversations/ami_trn09",
    "conversations/az_",
    "multilingual/BAC009S0764W0122",
    "multilingual/asterisk_it",
)
LEFT_OUT = ("hard/musicbed_2414", "utterances/jfk")
"""The first is derived from a held-out recording; the second must not be used in anything that ships."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Arrange recordings for codebooks fit.")
    parser.add_argument("recordings", type=Path)
    parser.add_argument("spoken", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for line in (arguments.recordings / "MANIFEST.jsonl").read_text().splitlines():
        entry = json.loads(line)
        path = entry["path"]
        if path.split("/")[0] in FOLDERS and not path.startswith(LEFT_OUT):
            part = "held" if path.startswith(HELD) else "fit"
            about = {"licence": licence(entry), "source": entry["source"]}
            link(arguments.recordings / path, arguments.out / part / path, about)
    for wav in sorted(arguments.spoken.glob("*.wav")):
        part = "held" if int(wav.stem[-4:]) % 20 == 0 else "fit"
        about = json.loads(wav.with_suffix(".json").read_text())
        link(wav, arguments.out / part / "spoken" / wav.name, about)


def licence(entry: dict[str, str]) -> str:
    """The recording's own licence; if only its repository has one, with the repository's name."""
    own = entry["licence"].removeprefix("data: ").partition("; repo")[0]
    return own.replace("(repo)", f"({entry['source'].split()[0]})")


def link(source: Path, target: Path, about: dict[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())
    target.with_name(f"{target.name}.json").write_text(json.dumps(about, ensure_ascii=False))


if __name__ == "__main__":
    main()
