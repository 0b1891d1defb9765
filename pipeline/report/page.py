"""The page `report.html`: one self-contained file, reproducible to the byte."""

from pathlib import Path
from typing import Any

import jinja2
import pyarrow.dataset as ds
import yaml

from pipeline.report import charts
from pipeline.report.facts import Histogram, TurnFacts, every_nth, families, reasons
from pipeline.report.labelled import labelled_clips
from pipeline.report.listen import pick, sample_cards
from pipeline.report.recording_audio import RecordingAudio
from pipeline.report.rejected import rejected_clips
from pipeline.report.sample_parts import PartsOf
from pipeline.report.songs import PAPER_SHARE, song_funnel
from pipeline.report.styles import style_counts
from pipeline.versions.provenance import select_of
from schemas.manifest import Manifest
from stages.select import SelectConfig


def render(
    manifest: Manifest,
    facts: TurnFacts,
    turns: ds.Dataset,
    set_aside: ds.Dataset,
    index: ds.Dataset,
    audio: RecordingAudio,
    parts_of: PartsOf,
) -> str:
    """The report of a version as HTML, from its manifest and its tables, which are read in batches."""
    select = select_of(manifest)
    picked = pick(index, every_nth(index))
    lengths, *others = facts.histograms
    return template("report.html").render(
        manifest=manifest,
        facts=facts,
        reasons=reasons(set_aside),
        families=families(index),
        lengths=charts.histogram(lengths, limits_of(lengths, select)),
        speakers=charts.columns(speakers(facts), "recordings by number of speakers"),
        histograms=[(h, charts.histogram(h, limits_of(h, select))) for h in others if h.filled],
        curves=[(drawn, charts.curve(drawn)) for drawn in facts.curves if not drawn.flat],
        flat=[drawn.field for drawn in facts.curves if drawn.flat],
        songs=song_funnel(manifest.songs),
        styles=style_counts(manifest.styles) + style_counts(manifest.voice_styles),
        paper_share=PAPER_SHARE,
        labelled=labelled_clips(turns, audio)
        if manifest.styles or manifest.recipe["quality"]["ears"]
        else [],
        rejected=rejected_clips(set_aside, turns, audio),
        cards=sample_cards(picked, turns, audio.clip, parts_of),
        companion_use=companion_use,
        audio_notes=AUDIO_NOTES,
        recipe=yaml.safe_dump(manifest.recipe, sort_keys=False, allow_unicode=True),
    )


_LEFT = {"ignored": "`existing` is `ignore`", "less_preferred": "another kind is preferred"}


def companion_use(code: str) -> str:
    """What became of companions, from the code of their `CompanionUse`."""
    return "used" if code == "used" else f"left: {_LEFT.get(code, code)}"


AUDIO_NOTES = {
    "start_offset": "start after the zero of their container's clock",
    "gap": "have gaps in their audio, which are silence",
    "overlap": "repeat some of their audio, which was left out",
    "clock": "have a clock that jumps",
    "format": "change format within the file",
    "joined": "consist of several files joined end to end",
    "header": "have a header that doesn't fit their data",
    "streams": "have several audio streams, of which one was used",
    "damage": "are damaged in places",
    "truncated": "were cut off",
    "separated": "are songs of which the vocals are kept, without their accompaniment",
}
"""What the recordings with a kind of note do."""


def speakers(facts: TurnFacts) -> list[tuple[str, float]]:
    """Recordings by their number of speakers; eight and more are counted together."""
    few = [(str(number), float(count)) for number, count in facts.speakers.items() if number < 8]
    crowds = sum(count for number, count in facts.speakers.items() if number >= 8)
    return [*few, ("8+", float(crowds))] if crowds else few


def limits_of(drawn: Histogram, select: SelectConfig) -> list[float]:
    """The thresholds of `select` that apply to a measure."""
    name = drawn.measure.column.rpartition(".")[2].removesuffix("_lufs")
    limits = (getattr(select, f"{name}_{side}", None) for side in ("min", "max"))
    return [float(limit) for limit in limits if limit is not None]


def template(name: str) -> jinja2.Template:
    """A template in this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": number,
        "duration": charts.duration,
        "share": share,
        "megabytes": megabytes,
    }
    return environment.get_template(name)


def number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def megabytes(value: int) -> str:
    return f"{value / 1e6:,.1f} MB"
