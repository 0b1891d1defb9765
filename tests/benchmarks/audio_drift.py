"""How far DPO moves the log-probabilities of audio, at the same margin of text: masked beside unmasked.

Train the stage twice, the second time with `--set dpo.preference.mask_audio=false` and another name, then

python tests/benchmarks/audio_drift.py runs/masked/dpo runs/unmasked/dpo
"""

import sys
from pathlib import Path

from stages.train.metrics import read_metrics


def text_margin(step: dict) -> float:
    """How much more likely the text of chosen answers has become than that of rejected ones, nats a pair."""
    return step["dpo"]["text_gain_chosen"] - step["dpo"]["text_gain_rejected"]


def audio_margin(step: dict) -> float:
    """The same of audio, nats a token: 0 where preference leaves audio alone."""
    return step["dpo"]["audio_drift_chosen"] - step["dpo"]["audio_drift_rejected"]


def at_margin(run: Path, margin: float) -> float | None:
    """Margin of audio at the first step whose margin of text is as large; None where none is."""
    steps = read_metrics(run / "metrics.jsonl")
    return next((audio_margin(step) for step in steps if text_margin(step) >= margin), None)


def main(masked: str, unmasked: str) -> None:
    runs = [Path(masked), Path(unmasked)]
    largest = min(max(map(text_margin, read_metrics(run / "metrics.jsonl"))) for run in runs)
    print("text margin  audio per token: masked  unmasked")
    for share in (0.25, 0.5, 0.75, 1.0):
        found = [at_margin(run, share * largest) for run in runs]
        print(f"{share * largest:11.2f}  {found[0]:23.4f}  {found[1]:8.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
