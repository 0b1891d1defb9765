"""The numbers in the report, from scans of the version's tables with one batch in memory at a time."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from pipeline.report.measures import MEASURES, Measure
from pipeline.report.thresholds import MEASURED, Curve, Thresholds
from pipeline.versions.reader import batches
from schemas.recording import UNKNOWN_SPEAKER
from stages.select import SelectConfig

Floats = NDArray[np.float64]


@dataclass
class Histogram:
    """Seconds of audio by value; values outside the range count in the first or last bin."""

    measure: Measure
    kept: Floats
    aside: Floats

    @classmethod
    def empty(cls, measure: Measure) -> "Histogram":
        return cls(measure, np.zeros(measure.bins), np.zeros(measure.bins))

    def add(self, values: Floats, seconds: Floats, kept: NDArray[np.bool_]) -> None:
        measure = self.measure
        position = (values - measure.low) / (measure.high - measure.low) * measure.bins
        measured = np.isfinite(position)
        for bins, chosen in ((self.kept, measured & kept), (self.aside, measured & ~kept)):
            index = np.clip(position[chosen].astype(int), 0, measure.bins - 1)
            bins += np.bincount(index, weights=seconds[chosen], minlength=measure.bins)

    @property
    def filled(self) -> bool:
        return bool(self.kept.any() or self.aside.any())


@dataclass
class Language:
    """Turns in one language."""

    turns: int = 0
    kept: float = 0.0
    aside: float = 0.0
    """Seconds."""

    @property
    def both(self) -> float:
        return self.kept + self.aside


@dataclass
class Reason:
    """A reason why recordings and turns were set aside: one code of one stage."""

    stage: str
    code: str
    recordings: int = 0
    turns: int = 0
    lines: int = 0
    """Of companions."""
    seconds: float = 0.0
    """Of turns and of recordings that could be decoded."""
    example: str = ""
    where: str = ""


@dataclass
class FamilyFacts:
    """Samples and tokens of one family."""

    name: str
    samples: Counter[str] = field(default_factory=Counter)
    """By split."""
    seconds: float = 0.0
    text: int = 0
    linguistic: int = 0
    semantic: int = 0


@dataclass
class Agreement:
    """Turns that two recognisers have heard."""

    compared: float = 0.0
    """Seconds."""
    kept: float = 0.0
    """Seconds of these that are kept."""
    errors: float = 0.0
    """Sum over kept turns of error rate times seconds."""

    def add(self, rates: Floats, seconds: Floats, kept: NDArray[np.bool_]) -> None:
        compared = np.isfinite(rates)
        both = compared & kept
        self.compared += float(seconds[compared].sum())
        self.kept += float(seconds[both].sum())
        self.errors += float((rates[both] * seconds[both]).sum())

    @property
    def mean(self) -> float:
        """Error rate between the two in what is kept, weighted by duration."""
        return self.errors / self.kept if self.kept else 0.0

    @property
    def kept_share(self) -> float:
        return self.kept / self.compared if self.compared else 0.0


@dataclass
class TurnFacts:
    """What the report counts of turns."""

    histograms: list[Histogram]
    languages: dict[str, Language]
    speakers: Counter[int]
    """Recordings by their number of speakers."""
    seconds: dict[str, float]
    """By status of the turn."""
    curves: list[Curve]
    every: int
    """Curves are computed from every n-th turn."""
    agreement: Agreement


ROWS_SAMPLED = 100_000
"""Rows that are processed one by one: of larger tables, curves and samples come from every n-th row."""


def every_nth(table: ds.Dataset) -> int:
    """The n for which every n-th row of a table is processed one by one."""
    return max(1, -(-int(table.count_rows()) // ROWS_SAMPLED))


def turn_facts(turns: ds.Dataset, select: SelectConfig) -> TurnFacts:
    """Everything that the report counts of turns, in one scan."""
    every = every_nth(turns)
    histograms = [Histogram.empty(measure) for measure in MEASURES]
    languages: dict[str, Language] = defaultdict(Language)
    seconds_of: dict[str, float] = dict.fromkeys(("used", "eligible", "set_aside"), 0.0)
    speakers = _Speakers()
    thresholds = Thresholds(select)
    agreement = Agreement()
    seen = 0
    for batch in batches(turns, MEASURED):
        seconds = _floats(batch["end"]) - _floats(batch["start"])
        status = batch["status"].to_numpy(zero_copy_only=False)
        kept = status != "set_aside"
        for histogram in histograms:
            column = histogram.measure.column
            histogram.add(seconds if column == "seconds" else _floats(batch[column]), seconds, kept)
        agreement.add(_floats(batch["transcript.disagreement"]), seconds, kept)
        for name in np.unique(status):
            seconds_of[str(name)] += float(seconds[status == name].sum())
        spoken = batch["language"].fill_null("no text").to_numpy(zero_copy_only=False)
        for name in np.unique(spoken):
            language, of_language = languages[str(name)], spoken == name
            language.turns += int(of_language.sum())
            language.kept += float(seconds[of_language & kept].sum())
            language.aside += float(seconds[of_language & ~kept].sum())
        speakers.add(batch)
        sampled = np.arange(-seen % every, batch.num_rows, every)
        for start in range(0, len(sampled), 1000):
            thresholds.add(batch.take(pa.array(sampled[start : start + 1000])).to_pylist())
        seen += batch.num_rows
    by_hours = sorted(languages.items(), key=lambda item: (-item[1].kept - item[1].aside, item[0]))
    curves = thresholds.curves(every)
    return TurnFacts(histograms, dict(by_hours), speakers.counts(), seconds_of, curves, every, agreement)


def reasons(set_aside: ds.Dataset) -> list[Reason]:
    """Why recordings and turns were set aside, the most frequent and longest first."""
    found: dict[tuple[str, str], Reason] = {}
    for batch in batches(set_aside):
        table = pa.table(
            {
                "stage": batch["stage"],
                "code": batch["code"],
                "turn": batch["turn"],
                "line": batch["line"]
                if "line" in batch.schema.names
                else pa.nulls(batch.num_rows, pa.int64()),
                "seconds": pc.fill_null(pc.subtract(batch["end"], batch["start"]), 0.0),
                "message": batch["message"],
                "recording": batch["recording"],
            }
        )
        grouped = table.group_by(["stage", "code"], use_threads=False).aggregate(
            [
                ("turn", "count", pc.CountOptions("only_valid")),
                ("line", "count", pc.CountOptions("only_valid")),
                ([], "count_all"),
                ("seconds", "sum"),
                ("message", "first"),
                ("recording", "first"),
            ]
        )
        for stage, code, turns, lines, rows, seconds, message, where in zip(
            *(column.to_pylist() for column in grouped.columns), strict=True
        ):
            reason = found.setdefault((stage, code), Reason(stage, code, example=message, where=where))
            reason.turns += turns
            reason.lines += lines
            reason.recordings += rows - turns - lines
            reason.seconds += seconds
    return sorted(found.values(), key=lambda r: (-r.recordings, -r.seconds, -r.turns, r.stage, r.code))


def families(index: ds.Dataset) -> list[FamilyFacts]:
    """Samples and tokens by family."""
    found: dict[str, FamilyFacts] = {}
    sums = [(name, "sum") for name in ("seconds", "text_tokens", "linguistic_tokens", "semantic_tokens")]
    columns = ["family", "split", *(name for name, _ in sums)]
    for batch in batches(index, columns):
        grouped = pa.table(batch).group_by(["family", "split"], use_threads=False)
        for row in grouped.aggregate([([], "count_all"), *sums]).to_pylist():
            family = found.setdefault(row["family"], FamilyFacts(row["family"]))
            family.samples[row["split"]] += row["count_all"]
            family.seconds += row["seconds_sum"]
            family.text += row["text_tokens_sum"]
            family.linguistic += row["linguistic_tokens_sum"]
            family.semantic += row["semantic_tokens_sum"]
    return [found[name] for name in sorted(found)]


def _floats(column: pa.Array) -> Floats:
    return cast(Floats, column.cast(pa.float64()).to_numpy(zero_copy_only=False))


class _Speakers:
    """Speakers of each recording; its rows are consecutive but may span batches."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._recording: str | None = None
        self._names: set[str] = set()

    def add(self, batch: pa.RecordBatch) -> None:
        pairs = pa.table([batch["recording"], batch["speaker"]], ["recording", "speaker"])
        grouped = pairs.group_by("recording", use_threads=False).aggregate([("speaker", "distinct")])
        for recording, names in zip(*(column.to_pylist() for column in grouped.columns), strict=True):
            if recording != self._recording:
                self._close()
                self._recording, self._names = recording, set()
            self._names.update(name for name in names if name != UNKNOWN_SPEAKER)

    def _close(self) -> None:
        if self._recording is not None:
            self._counts[len(self._names)] += 1

    def counts(self) -> Counter[int]:
        self._close()
        return Counter(dict(sorted(self._counts.items())))
