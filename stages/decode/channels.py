"""Choice of tracks from the channels of a recording."""

from dataclasses import dataclass

import numpy as np

from stages.decode.survey import Survey
from stages.stage import Samples

DOMINANT_SHARE = 0.97
"""A channel that leads at least this share of the active frames is used alone."""

CALL_SHARE, PARTY_SHARE = 0.15, 0.02
"""A recording is a call if its channels lead at least the first share of the active frames together. The
channels that lead at least the second share are its parties.

Measured: 0.88 to 0.95 for calls; 0.26 to 0.6 for two people who talk all the time on separate channels; 0.01
for two microphones that each pick up the other person 12 dB lower; below 0.01 for music, a voice or a bird in
stereo; 0.03 for a film in 5.1.
"""

CENTRE_SHARE = 0.2
"""The centre channel of surround sound is used alone if it is the loudest in this share of active frames."""

DUPLICATE, CANCELLING = 0.98, -0.2
"""Correlations at and above which channels are duplicates, and at and below which they cancel when summed."""


@dataclass(frozen=True)
class Tracks:
    """How to make tracks from channels."""

    mode: str
    """`mono`, `one`, `split` (each of `channels` is a track) or `mix` (the only track is their mean)."""
    channels: tuple[int, ...]
    """Indices of the channels that are used."""

    def __len__(self) -> int:
        return 1 if self.mode == "mix" else len(self.channels)

    def of(self, block: Samples) -> Samples:
        """Tracks [n, tracks] of a block [n, channels]; except in `mix`, samples are unchanged to the bit."""
        kept = block[:, self.channels]
        return kept.mean(axis=1, keepdims=True) if self.mode == "mix" else kept


def choose(survey: Survey, names: tuple[str, ...], policy: str) -> Tracks:
    """Tracks of a recording, from its survey, the names of its channels (`FL`, `FC`, ..) and the policy."""
    if survey.channels == 1:
        return Tracks("mono", (0,))
    power = np.diag(survey.covariance)
    audible = tuple(int(c) for c in np.flatnonzero(power >= 1e-6 * power.max()))
    if policy == "split" and len(audible) > 1:
        return Tracks("split", audible)
    if policy == "auto":
        activity = survey.activity()
        if activity.leads.max() >= DOMINANT_SHARE:
            return Tracks("one", (int(activity.leads.argmax()),))
        if "FC" in names and activity.loudest[names.index("FC")] >= CENTRE_SHARE:
            return Tracks("one", (names.index("FC"),))
        parties = tuple(int(c) for c in np.flatnonzero(activity.leads >= PARTY_SHARE))
        if len(parties) > 1 and activity.leads.sum() >= CALL_SHARE:
            return Tracks("split", parties)
    full_range = [c for c in audible if names[c : c + 1] != ("LFE",)]
    return _mixed(survey, full_range or list(audible))


def mean_of_all(survey: Survey) -> Tracks | None:
    """The mean of all channels; None if it would cancel the loudest one."""
    covariance = survey.covariance
    power = np.diag(covariance)
    loudest = int(power.argmax())
    correlation = covariance[loudest] / np.sqrt(power[loudest] * power + 1e-30)
    if (correlation <= CANCELLING).any():
        return None
    return Tracks("mix" if survey.channels > 1 else "mono", tuple(range(survey.channels)))


def _mixed(survey: Survey, candidates: list[int]) -> Tracks:
    """The mean of the loudest channel and those that neither duplicate nor cancel it."""
    covariance = survey.covariance
    power = np.diag(covariance)
    loudest = max(candidates, key=lambda c: (power[c], -c))
    correlation = covariance[loudest] / np.sqrt(power[loudest] * power + 1e-30)
    kept = tuple(c for c in candidates if c == loudest or CANCELLING < correlation[c] < DUPLICATE)
    return Tracks("mix" if len(kept) > 1 else "one", kept)
