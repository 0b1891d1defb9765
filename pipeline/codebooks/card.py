"""What came out of fitting or training codebooks, and the card that says so."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.codebooks.recorded_speech import SpeechSummary
from schemas.layout import LINGUISTIC_RATE, SEMANTIC_RATE
from stages.tokenize.fit import CodeUsage, FitConfig
from stages.tokenize.trained.train import CodesTrainConfig

DEMONSTRATION_HOURS = 100.0
"""The card labels codebooks from less speech as a demonstration."""


@dataclass(frozen=True)
class CodebookUse:
    """A set of recordings, and which codebook entries their speech uses."""

    data: SpeechSummary
    linguistic: CodeUsage
    semantic: CodeUsage


@dataclass(frozen=True)
class FitReport:
    """The result of fitting or training codebooks."""

    out: Path
    model: str
    model_sha256: str
    config: FitConfig | CodesTrainConfig
    fitted: CodebookUse
    held: CodebookUse | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"out": str(self.out)}


def card(report: FitReport, linguistic: int, semantic: int) -> str:
    """The README of a directory of codebooks with these numbers of entries."""
    hours = report.fitted.data.speech_seconds / 3600
    lines = ["# Codebooks of the `whisper` tokenizer", ""]
    if hours < DEMONSTRATION_HOURS:
        lines += [
            f"**Demonstration only.** Made from {hours:.1f} hours of speech: enough to run the pipeline "
            "and its tests, too little to train a useful model. Make your own with "
            "`aqaa-data codebooks fit`.",
            "",
        ]
    described = trained if isinstance(report.config, CodesTrainConfig) else fitted
    lines += [
        described(report),
        "",
        "| codebook | entries | codes per second | speech | codes | entries used | perplexity |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for speech, measured in (("fitted", report.fitted), ("held out", report.held)):
        if measured:
            rates = f"{LINGUISTIC_RATE:.2f}", f"{SEMANTIC_RATE:.0f}"
            lines += [
                f"| linguistic | {linguistic} | {rates[0]} | {speech} | {_row(measured.linguistic)} |",
                f"| semantic | {semantic} | {rates[1]} | {speech} | {_row(measured.semantic)} |",
            ]
    lines += [
        "",
        "Entries used and perplexity can't exceed the number of codes, so a few minutes use few entries.",
    ]
    for title, measured in (("Fitted to", report.fitted), ("Held out", report.held)):
        if measured:
            data = measured.data
            lines += ["", f"## {title}", ""]
            lines += [
                f"{data.recordings} recordings with {data.speech_seconds / 60:.1f} minutes of speech:",
                "",
            ]
            lines += ["| licence | minutes |", "| --- | --- |"]
            lines += [f"| {licence} | {seconds / 60:.1f} |" for licence, seconds in data.licences.items()]
            if data.refused:
                lines += ["", "Not used:", ""]
                lines += [f"- `{name}`: {reason}" for name, reason in data.refused.items()]
    return "\n".join(lines) + "\n"


def _row(use: CodeUsage) -> str:
    return f"{use.codes} | {use.share:.1%} | {use.perplexity:.0f}"


def fitted(report: FitReport) -> str:
    """How codebooks were fitted."""
    config = report.config
    assert isinstance(config, FitConfig)
    weights = config.weights
    return (
        f"Linguistic codes are the nearest centroids of three averaged encoder states of `{report.model}` "
        f"(sha256 of its files: `{report.model_sha256}`); semantic codes those of two averaged states, the "
        f"log-mel spectrum and the pitch of 40 ms. States are reduced to {config.linguistic_dimensions} "
        f"principal components for linguistic and {config.state_dimensions} for semantic codes, the spectrum "
        f"to {config.spectrum_dimensions}. States, spectrum and pitch are scaled to a variance of "
        f"{weights.words:g} : {weights.spectrum:g} : {weights.pitch:g}. Half precision; k-means seed "
        f"{config.seed}."
    )


def trained(report: FitReport) -> str:
    """How codes were trained."""
    config = report.config
    assert isinstance(config, CodesTrainConfig)
    shape = config.shape
    assert shape is not None
    return (
        f"The first {shape.lower_layers} layers of `{report.model}` (sha256 of its files: "
        f"`{report.model_sha256}`) are frozen; {shape.own_layers} more and the grids of both codes were "
        "trained so that the model's decoder reads from codes alone what it reads from the sound "
        f"({config.steps} steps of {config.batch_seconds:g} s of speech, seed {config.seed}). A semantic code "
        "is a level of pitch, a level of energy and a content. `reader.safetensors` turns codes back into "
        "states that the decoder reads. Half precision."
    )
