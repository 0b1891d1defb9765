"""Which channels of a recording become which tracks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.decode.survey import Survey
from stages.stage import Samples

ALONE = 0.97
"""A channel that leads this share of the active frames is all there is to hear."""

CALL, PARTY = 0.3, 0.02
"""A call: somebody leads this share of the active frames, and each party at least the second share.

Measured: calls 0.88 to 0.95, two people who read at the same time on two channels 0.57, stereo music
and stereo recordings of a voice or a bird below 0.01, a film in 5.1 0.03.
"""

CENTRE = 0.2
"""The centre of surround sound stands for all when it is the loudest in this share of the active frames."""

SAME, CANCELS = 0.98, -0.2
"""Correlation from which two channels are one and the same, or cancel when summed."""


@dataclass(frozen=True)
class Tracks:
    """How channels become tracks: `mode` as in `Decoded.channel_mode`, weights [tracks, channels]."""

    mode: str
    weights: NDArray[np.float32]

    @property
    def used(self) -> NDArray[np.bool_]:
        """[channels], the ones that any track takes from."""
        return np.asarray(self.weights.any(axis=0))

    def of(self, block: Samples) -> Samples:
        """[n, channels] to [n, tracks]; a channel that is taken alone stays bit for bit what it was."""
        if self.mode == "mix":
            return block @ self.weights.T
        return block[:, self.weights.argmax(axis=1)]


def choose(survey: Survey, names: tuple[str, ...], policy: str) -> Tracks:
    """Tracks of a recording from its survey, the names of its channels (`FL`, `FC`, ..), and the policy."""
    channels = survey.channels
    if channels == 1:
        return _picked("mono", [0], 1)
    heard = survey.activity()
    power = np.diag(survey.covariance)
    loud = [c for c in range(channels) if power[c] > 1e-6 * power.max() and power[c] > 1e-12]
    if policy == "split" and len(loud) > 1:
        return _picked("split", loud, channels)
    if policy == "auto":
        if heard.leads.max() >= ALONE:
            return _picked("one", [int(heard.leads.argmax())], channels)
        if "FC" in names and heard.loudest[names.index("FC")] >= CENTRE:
            return _picked("one", [names.index("FC")], channels)
        parties = [c for c in range(channels) if heard.leads[c] >= PARTY]
        if len(parties) > 1 and heard.leads.sum() >= CALL:
            return _picked("split", parties, channels)
    return _mixed(survey, [c for c in loud if c >= len(names) or names[c] != "LFE"] or [int(power.argmax())])


def _mixed(survey: Survey, candidates: list[int]) -> Tracks:
    """The mean of the channels that neither repeat nor cancel the loudest one."""
    covariance = survey.covariance
    first = max(candidates, key=lambda c: (covariance[c, c], -c))
    kept = [first]
    for c in candidates:
        other = covariance[first, c] / np.sqrt(covariance[first, first] * covariance[c, c] + 1e-30)
        if c != first and CANCELS < other < SAME:
            kept.append(c)
    if len(kept) == 1:
        return _picked("one", kept, survey.channels)
    weights = np.zeros((1, survey.channels), np.float32)
    weights[0, kept] = 1 / len(kept)
    return Tracks("mix", weights)


def _picked(mode: str, kept: list[int], channels: int) -> Tracks:
    return Tracks(mode, np.eye(channels, dtype=np.float32)[kept])
