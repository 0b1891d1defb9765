"""The page of a stage of a training: its curves, in one self-contained file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.report.charts import COLOURS, progress
from pipeline.report.page import template

Line = list[tuple[float, float]]
"""(step, value)"""

POINTS = 400
"""Most points of a line; more steps are averaged."""
_SHARES = ("rules", "obeyed", "grammar", "silent", "failed", "right_language", "word_errors")
_ANSWERS = {
    "Answers: scores and shares": _SHARES,
    "Answers: DNSMOS, 1 to 5": ("dnsmos",),
}
_DPO = {
    "DPO: margin, and gains of text": ("margin", "text_gain_chosen", "text_gain_rejected"),
    "DPO: share of pairs preferred": ("accuracy",),
    "DPO: drift of audio per token": ("audio_drift_chosen", "audio_drift_rejected"),
}


@dataclass(frozen=True)
class _Figure:
    title: str
    lines: dict[str, Line]

    @property
    def chart(self) -> Markup:
        return progress(self.lines, self.title)

    @property
    def legend(self) -> list[tuple[str, str, float]]:
        """Colour, name and last value of each line."""
        return [
            (f"var(--s{number % COLOURS})", name, line[-1][1])
            for number, (name, line) in enumerate(self.lines.items())
        ]


def render(title: str, metrics: Sequence[Mapping[str, Any]]) -> str:
    """The page as HTML; `metrics` are the lines of metrics.jsonl."""
    validated = [{"step": line["step"], **line["validation"]} for line in metrics if "validation" in line]
    figures = [
        _Figure("Loss: training and validation", _losses(metrics, validated)),
        _Figure("Loss by modality, nats per token", _lines(metrics, "modalities")),
        _Figure("Validation loss by modality", _lines(validated, "modalities")),
        _Figure("Loss by family, nats per token", _lines(metrics, "families")),
        _Figure("Validation loss by family", _lines(validated, "families")),
        *(_Figure(name, _lines(metrics, "dpo", keys)) for name, keys in _DPO.items()),
        *(_Figure(f"Validation: {name}", _lines(validated, "dpo", keys)) for name, keys in _DPO.items()),
        *(_Figure(name, _lines(metrics, "answers", keys)) for name, keys in _ANSWERS.items()),
        _Figure("Answers: rules broken by the likeliest id, share of steps", _broken(metrics)),
    ]
    return template("training.html").render(
        title=title, steps=len(metrics), figures=[figure for figure in figures if figure.lines]
    )


def _losses(metrics: Sequence[Mapping[str, Any]], validated: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """Both losses, if there are both."""
    lines = {
        name: [(values["step"] + 1.0, float(values["loss"])) for values in each]
        for name, each in (("training", metrics), ("validation", validated))
    }
    return {name: _thinned(line) for name, line in lines.items()} if validated else {}


def _lines(
    metrics: Sequence[Mapping[str, Any]], group: str, keys: Sequence[str] | None = None
) -> dict[str, Line]:
    """Name -> line of the values of a group, of some keys or of all."""
    lines: dict[str, Line] = {}
    for values in metrics:
        for name, value in values.get(group, {}).items():
            if isinstance(value, int | float) and (keys is None or name in keys):
                lines.setdefault(name, []).append((values["step"] + 1.0, float(value)))
    return {name: _thinned(lines[name]) for name in sorted(lines)}


def _broken(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """A rule that isn't broken at an evaluation has no value there."""
    evaluated = [line for line in metrics if "grammar" in line.get("answers", {})]
    rules = sorted({rule for line in evaluated for rule in line["answers"].get("broken", {})})
    return {
        rule: [(line["step"] + 1.0, line["answers"].get("broken", {}).get(rule, 0.0)) for line in evaluated]
        for rule in rules
    }


def _thinned(line: Line) -> Line:
    """Means of stretches of a long line."""
    size = -(-len(line) // POINTS)
    stretches = [line[start : start + size] for start in range(0, len(line), size)]
    return [(each[-1][0], sum(value for _, value in each) / len(each)) for each in stretches]
