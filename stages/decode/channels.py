"""Which channels of a recording become which tracks."""

from dataclasses import dataclass

import numpy as np

from stages.decode.survey import Survey
from stages.stage import Samples

ALONE = 0.97
"""A channel that leads this share of the active frames is all there is to hear."""

CALL, PARTY = 0.15, 0.02
"""A call: somebody leads this share of the active frames, and each party at least the second share.

Measured: calls 0.88 to 0.95, two people who never stop talking on two channels 0.26 to 0.6; microphones
that hear the other one 12 dB weaker 0.01, stereo music, a voice or a bird in stereo below 0.01, a film in
5.1 0.03.
"""

CENTRE = 0.2
"""The centre of surround sound stands for all when it is the loudest in this share of the active frames."""

SAME, CANCELS = 0.98, -0.2
"""Correlation from which two channels are one and the same, or cancel when summed."""


@dataclass(frozen=True)
class Tracks:
    """How channels become tracks."""

    mode: str
    """`mono`, `one`, `split` (each of `channels` is a track) or `mix` (their mean is the only one)."""
    channels: tuple[int, ...]

    def __len__(self) -> int:
        return 1 if self.mode == "mix" else len(self.channels)

    def of(self, block: Samples) -> Samples:
        """[n, channels] to [n, tracks]; a channel that is taken alone stays bit for bit what it was."""
        kept = block[:, self.channels]
        return kept.mean(axis=1, keepdims=True) if self.mode == "mix" else kept


def choose(survey: Survey, names: tuple[str, ...], policy: str) -> Tracks:
    """Tracks of a recording from its survey, the names of its channels (`FL`, `FC`, ..), and the policy."""
    if survey.channels == 1:
        return Tracks("mono", (0,))
    power = np.diag(survey.covariance)
    heard = tuple(int(c) for c in np.flatnonzero(power >= 1e-6 * power.max()))
    if policy == "split" and len(heard) > 1:
        return Tracks("split", heard)
    if policy == "auto":
        activity = survey.activity()
        if activity.leads.max() >= ALONE:
            return Tracks("one", (int(activity.leads.argmax()),))
        if "FC" in names and activity.loudest[names.index("FC")] >= CENTRE:
            return Tracks("one", (names.index("FC"),))
        parties = tuple(int(c) for c in np.flatnonzero(activity.leads >= PARTY))
        if len(parties) > 1 and activity.leads.sum() >= CALL:
            return Tracks("split", parties)
    voices = [c for c in heard if names[c : c + 1] != ("LFE",)]
    return _mixed(survey, voices or list(heard))


def mean_of_all(survey: Survey) -> Tracks | None:
    """The plain mean of all channels; None where it would cancel the loudest one."""
    covariance = survey.covariance
    power = np.diag(covariance)
    loudest = int(power.argmax())
    correlation = covariance[loudest] / np.sqrt(power[loudest] * power + 1e-30)
    if (correlation <= CANCELS).any():
        return None
    return Tracks("mix" if survey.channels > 1 else "mono", tuple(range(survey.channels)))


def _mixed(survey: Survey, candidates: list[int]) -> Tracks:
    """The mean of the channels that neither repeat nor cancel the loudest one."""
    covariance = survey.covariance
    power = np.diag(covariance)
    loudest = max(candidates, key=lambda c: (power[c], -c))
    correlation = covariance[loudest] / np.sqrt(power[loudest] * power + 1e-30)
    kept = tuple(c for c in candidates if c == loudest or CANCELS < correlation[c] < SAME)
    return Tracks("mix" if len(kept) > 1 else "one", kept)
