"""The outcome of a finished stage."""

from dataclasses import dataclass
from typing import Any

from pipeline.training.training_folder import TrainingFolder

LAST_SHARE = 0.05
"""Share of a run's steps, the last ones, over whose losses `after` is the mean."""


@dataclass(frozen=True)
class StageResult:
    stage: str
    model: str
    skipped: bool
    """Whether it was done already."""
    seconds: float | None
    steps: int = 0
    before: dict[str, float] | None = None
    """Metrics of the first step: loss, loss per modality, and those of DPO."""
    after: dict[str, float] | None = None
    """Their means over the last steps."""
    validation: dict[str, Any] | None = None
    """The last loss on the validation side, with its parts, if it was measured."""
    answers: dict[str, Any] | None = None
    """Of the model in training at its last evaluation, if the recipe has `evaluate`."""


def result_of(
    name: str, folder: TrainingFolder, skipped: bool = False, seconds: float | None = None
) -> StageResult:
    """Read from the metrics that the stage left in its folder."""
    from stages.train.metrics import read_metrics

    file = folder.stage(name) / "metrics.jsonl"
    lines = read_metrics(file) if file.exists() else []
    last = lines[-max(1, round(LAST_SHARE * len(lines))) :]
    return StageResult(
        stage=name,
        model=folder.model_uri(name),
        skipped=skipped,
        seconds=None if seconds is None else round(seconds, 1),
        steps=len(lines),
        before=_mean(lines[:1]) if lines else None,
        after=_mean(last) if lines else None,
        validation=_last(lines, "validation"),
        answers=_last(lines, "answers"),
    )


def _last(lines: list[dict[str, Any]], group: str) -> dict[str, Any] | None:
    return next((line[group] for line in reversed(lines) if group in line), None)


def _mean(lines: list[dict[str, Any]]) -> dict[str, float]:
    flat = [{"loss": line["loss"], **line["modalities"], **line.get("dpo", {})} for line in lines]
    names = list(dict.fromkeys(name for metrics in flat for name in metrics))
    values = {name: [metrics[name] for metrics in flat if name in metrics] for name in names}
    return {name: round(sum(each) / len(each), 6) for name, each in values.items()}
