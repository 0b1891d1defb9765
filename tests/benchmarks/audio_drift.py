"""How far DPO moves the log-probabilities of audio at equal text margins, with and without the audio mask.

Train the stage twice, the second time with `--set dpo.preference.mask_audio=false` and another name, then run

python tests/benchmarks/audio_drift.py runs/masked/dpo runs/unmasked/dpo
"""

import sys
from pathlib import Path

from stages.train.metrics import read_metrics


def text_margin(step: dict) -> float:
    """Gain of the chosen over the rejected texts in log-probability, nats per pair."""
    return step["dpo"]["text_gain_chosen"] - step["dpo"]["text_gain_rejected"]


def audio_margin(step: dict) -> float:
    """The same for audio, nats per token; 0 if training leaves audio unchanged."""
    return step["dpo"]["audio_drift_chosen"] - step["dpo"]["audio_drift_rejected"]


def at_margin(run: Path, margin: float) -> float | None:
    """Audio margin at the first step whose text margin reaches `margin`; None if no step does."""
    steps = read_metrics(run / "metrics.jsonl")
    return next((audio_margin(step) for step in steps if text_margin(step) >= margin), None)


def main(masked: str, unmasked: str) -> None:
    runs = [Path(masked), Path(unmasked)]
    largest = min(max(map(text_margin, read_metrics(run / "metrics.jsonl"))) for run in runs)
    print("text margin  audio margin per token: masked  unmasked")
    for share in (0.25, 0.5, 0.75, 1.0):
        margins = [at_margin(run, share * largest) for run in runs]
        print(f"{share * largest:11.2f}  {margins[0]:30.4f}  {margins[1]:8.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
