"""What a finished stage came to."""

from dataclasses import dataclass
from typing import Any

from pipeline.training.place import Place

SHARE = 0.05
"""Of a run's steps, over whose losses `after` is the mean."""


@dataclass(frozen=True)
class Result:
    stage: str
    model: str
    skipped: bool
    """Whether it was done before."""
    seconds: float | None
    steps: int = 0
    before: dict[str, float] | None = None
    """Loss, losses per modality and what DPO is measured by, of the first step."""
    after: dict[str, float] | None = None
    """Means of the last steps."""


def result_of(name: str, place: Place, skipped: bool = False, seconds: float | None = None) -> Result:
    """Reads the metrics that the stage left in its folder."""
    from stages.train.metrics import read_metrics

    file = place.stage(name) / "metrics.jsonl"
    lines = read_metrics(file) if file.exists() else []
    last = lines[-max(1, round(SHARE * len(lines))) :]
    return Result(
        stage=name,
        model=place.shown(name),
        skipped=skipped,
        seconds=None if seconds is None else round(seconds, 1),
        steps=len(lines),
        before=_mean(lines[:1]) if lines else None,
        after=_mean(last) if lines else None,
    )


def _mean(lines: list[dict[str, Any]]) -> dict[str, float]:
    flat = [{"loss": line["loss"], **line["modalities"], **line.get("dpo", {})} for line in lines]
    names = list(dict.fromkeys(name for one in flat for name in one))
    found = {name: [one[name] for one in flat if name in one] for name in names}
    return {name: round(sum(values) / len(values), 6) for name, values in found.items()}
