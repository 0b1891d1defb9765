"""The page of a stage, report.html in its folder: written with each validation and at the end."""

from pathlib import Path
from typing import Any

from stages.train.progress import ProgressCallback

PAGE = "report.html"


def with_page(on_progress: ProgressCallback, training: str, folder: Path) -> ProgressCallback:
    """A callback that also writes the page when the metrics of a step have more than those of training."""

    def progressed(metrics: dict[str, Any]) -> None:
        on_progress(metrics)
        if "answers" in metrics or "validation" in metrics:
            write_page(training, folder)

    return progressed


def write_page(training: str, folder: Path) -> None:
    """Write the page of a stage from its metrics."""
    from pipeline.report.training import render
    from stages.train.folder import METRICS, written
    from stages.train.metrics import read_metrics

    metrics = read_metrics(folder / METRICS)
    page = render(f"{training}: {folder.name}", metrics)
    written(folder / PAGE, lambda file: file.write_text(page, encoding="utf-8"))
