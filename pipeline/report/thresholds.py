"""How much audio other thresholds of `select` would keep."""

from array import array
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import pyarrow.dataset as ds
from numpy.typing import NDArray

from schemas.recording import DecodedAudio, QualityMeasures, Transcript, Turn
from schemas.turn import AnnotatedTurn
from stages.select import LIMITS, SelectConfig


@dataclass(frozen=True)
class Curve:
    """Audio that is kept as a function of one threshold of `select`, with all others as they are."""

    field: str
    description: str
    limit: float | None
    values: NDArray[np.float64]
    hours: NDArray[np.float64]
    """Kept with the limit at `values`; scaled to the whole version if rows were sampled."""

    @property
    def flat(self) -> bool:
        """Whether the limit makes no difference over the plotted range."""
        return bool(np.ptp(self.hours) == 0)


class Thresholds:
    """Seconds by value of each limited measure, for the turns that pass all other limits."""

    def __init__(self, select: SelectConfig) -> None:
        self._select = select
        self._points = {name: array("d") for name in LIMITS}
        """Value, seconds, value, seconds, .."""
        self._unmeasured = dict.fromkeys(LIMITS, 0.0)

    def add(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["status"] == "set_aside" and (row["stage"] != "select" or row["code"] not in _LIMIT_CODES):
                continue
            turn = _turn(row)
            values = {name: measure(turn) for name, (_, _, measure) in LIMITS.items()}
            failed = [name for name, value in values.items() if self._fails(name, value, turn.sings)]
            for name in failed if len(failed) == 1 else LIMITS if not failed else ():
                if (value := values[name]) is None or self._select.is_own_of_songs(name, turn.sings):
                    self._unmeasured[name] += turn.turn.seconds
                else:
                    self._points[name].extend((value, turn.turn.seconds))

    def _fails(self, name: str, value: float | None, sings: bool) -> bool:
        limit = self._select.limit(name, sings)
        if limit is None or value is None:
            return False
        return bool(value < limit if name.endswith("_min") else value > limit)

    def curves(self, every: int) -> list[Curve]:
        return [self._curve(name, every) for name in LIMITS if self._points[name]]

    def _curve(self, name: str, every: int) -> Curve:
        points = np.array(self._points[name]).reshape(-1, 2)
        values, seconds = points[np.argsort(points[:, 0], kind="stable")].T
        limit = getattr(self._select, name)
        low, high = np.quantile(values, [0.005, 0.995])
        ends = [end for end in (low, high, limit) if end is not None]
        at = np.linspace(min(ends), max(ends), 81)
        total = np.concatenate([[0.0], np.cumsum(seconds)])
        if name.endswith("_min"):
            kept = total[-1] - total[np.searchsorted(values, at, side="left")]
        else:
            kept = total[np.searchsorted(values, at, side="right")]
        hours = (kept + self._unmeasured[name]) * every / 3600
        description = SelectConfig.model_fields[name].description or name
        return Curve(name, description, None if limit is None else float(limit), at, hours)


_LIMIT_CODES = {code for code, _, _ in LIMITS.values()}
"""Reasons that depend on a threshold; turns with another reason stay set aside whatever the limits are."""


def _turn(row: dict[str, Any]) -> AnnotatedTurn:
    """An annotated turn with the fields that limits apply to."""

    def column(name: str, fields: list[str]) -> dict[str, Any]:
        return {field: row[f"{name}.{field}"] for field in fields}

    return AnnotatedTurn(
        recording=row["recording"],
        index=0,
        metadata={},
        decoded=cast(DecodedAudio, None),  # no limit applies to it
        turn=Turn(
            row["start"], row["end"], row["speaker"], 0, False, voice_similarity=row["voice_similarity"]
        ),
        transcript=None
        if row["transcript.text"] is None
        else Transcript(**column("transcript", _TRANSCRIPT), words=()),
        assessment=QualityMeasures(**column("assessment", _ASSESSMENT)),
        codes=None,
        sings=row["sings"],
    )


_TRANSCRIPT = [f.name for f in fields(Transcript) if f.name != "words"]
_ASSESSMENT = [f.name for f in fields(QualityMeasures) if f.name not in ("melody", "heard", "key")]
MEASURED = {
    **{
        name: ds.field(name)
        for name in (
            "recording",
            "start",
            "end",
            "speaker",
            "status",
            "stage",
            "code",
            "language",
            "voice_similarity",
            "sings",
        )
    },
    **{f"transcript.{name}": ds.field("transcript", name) for name in _TRANSCRIPT},
    **{f"assessment.{name}": ds.field("assessment", name) for name in _ASSESSMENT},
}
"""Columns of a turn that the report counts: everything except words, melody and codes."""
