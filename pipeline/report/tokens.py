"""The page of `aqaa-data evaluate tokens`: one self-contained file."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pipeline.evaluation.resynthesis import JudgedUtterance, Resynthesis
from pipeline.evaluation.run import Evaluation
from pipeline.report.charts import Lane, lanes
from pipeline.report.listen import mp3_base64
from pipeline.report.page import template
from stages.evaluate.estimate import IntervalEstimate
from stages.stage import Samples

NAMES = {"original": "original", "mel": "mel → wave", "tokens": "tokens → wave"}
"""Names of conditions."""

TITLES = {
    "text_wer": "Word errors against the text",
    "text_cer": "Character errors against the text",
    "original_wer": "Word errors against the transcript of the original",
    "original_cer": "Character errors against the transcript of the original",
    "similarity": "Voice: cosine to the original (CAM++)",
    "f0_correlation": "Pitch: correlation of log F0",
    "voicing_agreement": "Share of frames with equal voicing",
    "mel_distance": "Log-mel distance, dB",
    "dnsmos": "DNSMOS overall, 1 to 5",
    "average_log_probability": "Mean log probability of a token (recognizer)",
    "no_speech_probability": "Probability of no speech (recognizer)",
}
"""Titles of measures."""

SHARES = ("text_wer", "text_cer", "original_wer", "original_cer", "voicing_agreement")
"""Shown in percent."""

ENDS = {
    "similarity": (0.0, 1.0),
    "f0_correlation": (-1.0, 1.0),
    "voicing_agreement": (0.0, 1.0),
    "dnsmos": (1.0, 4.5),
}
"""Ends of axes; the others start at 0 and end at the largest value."""


def render(found: Evaluation) -> str:
    """The page as HTML."""
    spoken = found.resynthesis
    measures = spoken.measures() if spoken else {}
    sampled = found.sampled.measures() if found.sampled else {}
    return template("tokens.html").render(
        found=found,
        facts=found.as_json(),
        names={name: NAMES[name] for name in spoken.conditions} if spoken else {},
        titles=TITLES,
        measures=measures,
        sampled=sampled,
        shown=shown,
        charts=[(TITLES[name], drawn(spoken, name, of)) for name, of in measures.items()] if spoken else [],
        utterances=[one for one in spoken.judged if one.sounds] if spoken else [],
        played=played,
    )


def shown(name: str, estimate: IntervalEstimate | None) -> str:
    """An estimate with its confidence interval."""
    if estimate is None:
        return ""
    if name in SHARES:
        return f"{estimate.value:.1%} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def drawn(spoken: Resynthesis, name: str, of: dict[str, IntervalEstimate | None]) -> Markup:
    """Every utterance as a dot, one lane per condition."""
    rows = [
        Lane(NAMES[condition], values_of(spoken.judged, name, condition), each.value, each.low, each.high)
        for condition in spoken.conditions
        if (each := of[condition])
    ]
    most = max(value for row in rows for value in (*row.values, row.high))
    low, high = ENDS.get(name, (0.0, max(1.0 if name in SHARES else 0.1, most)))
    return lanes(rows, low, high, TITLES[name])


def values_of(judged: Sequence[JudgedUtterance], name: str, condition: str) -> list[float]:
    """A measure of each utterance that it could be taken of."""
    found = []
    for one in judged:
        beside = one.conditions[condition]
        if name.endswith(("_wer", "_cer")):
            errors = beside.errors if name.startswith("text") else beside.heard_otherwise
            if errors is not None and errors.characters == name.endswith("cer"):
                found.append(errors.wrong / errors.of)
        else:
            value: Any = beside.alone.dnsmos if name == "dnsmos" else getattr(beside, name)
            if value is not None:
                found.append(float(value))
    return found


def played(samples: Samples) -> Markup:
    """An audio player for samples."""
    data = mp3_base64(samples)
    return Markup(f'<audio controls preload="metadata" src="data:audio/mpeg;base64,{data}"></audio>')
