"""How much of a build is done, and how long the rest will take.

Stages differ in cost by two orders of magnitude, so the share done weights each by its seconds per second
of audio. The time left follows from the bottleneck: for every stage, its remaining audio at its current
cost and number of workers, plus the time in which the last unit passes through the stages after it; or, where
that takes longer, the remaining work of all stages on the cores that there are.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from pipeline.monitoring.progress import StageTally

_RELATIVE_COSTS = {"decode": 13.0, "diarize": 125.0, "transcribe": 957.0, "quality": 496.0, "tokenize": 103.0}
"""CPU seconds per hour of audio with the default models, measured (infra/SCALING.md). Only their ratios
count, and only until a stage has finished its first unit."""

_STEADY = 0.15
"""The end is shown once it has moved by no more than this share of the time left ..."""

_STEADY_SHARE = 0.2
"""... during the last part of the time so far, of this share."""

_MIN_SHARE = 0.2
"""Share of the work that must be done before an estimate is shown: by then the first stages, which run ahead
of the slow ones and take cores from them, have mostly finished."""

_MIN_UNITS = 2
"""Units (or all, where there are fewer) that every stage must have finished before an estimate is shown."""

_SMOOTHING = 0.4
"""Weight of the newest prediction of the end; what is shown moves slowly."""


class TimeLeft:
    def __init__(self, work: Mapping[str, Mapping[str, float]], stages: Sequence[str], cpus: float) -> None:
        """`work` is unit -> stage -> estimated audio seconds that the stage has to run."""
        self.cpus = cpus
        self.total = {stage: sum(each.get(stage, 0.0) for each in work.values()) for stage in stages}
        self.units = {stage: sum(bool(each.get(stage)) for each in work.values()) for stage in stages}
        self.stages = [stage for stage in stages if self.total[stage]]
        """Those that have anything to run."""
        self._began: float | None = None
        self._ends: deque[tuple[float, float]] = deque()
        """(time, predicted end) at every change of the prediction within the window of `_STEADY_SHARE`."""
        self._seen = -1
        self._end: float | None = None
        """The end that is shown."""

    def share(self, tallies: Mapping[str, StageTally]) -> float:
        """Share of the work done, between 0 and 1."""
        costs = self._costs(tallies)
        whole = sum(costs[stage] * self.total[stage] for stage in self.stages)
        done = sum(costs[stage] * self._done(tallies, stage) for stage in self.stages)
        return done / whole if whole else 1.0

    def seconds(self, tallies: Mapping[str, StageTally], now: float) -> float | None:
        """Seconds left at the time `now` (seconds since the epoch); None until the estimate is steady."""
        if self._began is None:
            self._began = now
        finished = sum(tally.done_units for tally in tallies.values())
        if finished != self._seen and self._measured(tallies):
            self._seen = finished
            self._predict(self._predicted_end(tallies, now), now)
        return None if self._end is None else max(0.0, self._end - now)

    def _predict(self, end: float, now: float) -> None:
        self._ends.append((now, end))
        window = now - (now - (self._began or now)) * _STEADY_SHARE
        while len(self._ends) > 1 and self._ends[1][0] <= window:
            self._ends.popleft()
        if self._end is not None:
            self._end += _SMOOTHING * (end - self._end)
        elif self._ends[0][0] <= window:
            ends = [each for _, each in self._ends]
            if max(ends) - min(ends) <= _STEADY * (end - now):
                self._end = end

    def _measured(self, tallies: Mapping[str, StageTally]) -> bool:
        return self.share(tallies) >= _MIN_SHARE and all(
            stage in tallies and tallies[stage].done_units >= min(_MIN_UNITS, self.units[stage])
            for stage in self.stages
        )

    def _predicted_end(self, tallies: Mapping[str, StageTally], now: float) -> float:
        """Seconds since the epoch; every stage must have a measured cost."""
        end = drain = whole = 0.0
        for stage in reversed(self.stages):
            tally = tallies[stage]
            left = (self.total[stage] - tally.done_seconds) * (tally.cost or 0.0)
            end = max(end, tally.last + left / len(tally.workers) + drain)
            drain += (tally.cost or 0.0) * self.total[stage] / self.units[stage]
            whole += left
        return max(end, now + whole / self.cpus)

    def _costs(self, tallies: Mapping[str, StageTally]) -> dict[str, float]:
        """Stage -> busy seconds per second of audio: measured, else the known ratio to the measured ones."""
        measured = {stage: cost for stage in self.stages if (cost := _cost(tallies, stage)) is not None}
        known = sum(_relative(stage) * self._done(tallies, stage) for stage in measured)
        busy = sum(cost * self._done(tallies, stage) for stage, cost in measured.items())
        scale = busy / known if known else 1.0
        return {stage: measured.get(stage, _relative(stage) * scale) for stage in self.stages}

    def _done(self, tallies: Mapping[str, StageTally], stage: str) -> float:
        return tallies[stage].done_seconds if stage in tallies else 0.0


def _cost(tallies: Mapping[str, StageTally], stage: str) -> float | None:
    return tallies[stage].cost if stage in tallies else None


def _relative(stage: str) -> float:
    return _RELATIVE_COSTS.get(stage, sum(_RELATIVE_COSTS.values()) / len(_RELATIVE_COSTS))
