"""Which track each segment of a companion is on.

Formats number channels from 0, from 1 or by letters, many tools write 1 everywhere, and some nothing. So the
sound decides: a segment is on the track where it is heard, compared with how loud that track is elsewhere in
the annotation, as channels differ in level and each leaks into the others.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.companions import CompanionSegment
from schemas.recording import UNKNOWN_SPEAKER, DecodedAudio
from stages.stage import SAMPLE_RATE, Samples

Read = Callable[[int, float, float], Samples]
"""(track, start, end) -> samples, times in seconds."""

CERTAIN = 6.0
"""Decibels by which a track must be louder than the others, to be sure that a segment is on it."""
SILENT = -12.0
"""Decibels, relative to the other segments, below which a segment is not heard on the only track."""
_QUIETEST = 15.0
"""Decibels by which one track may be quieter than the loudest, before it counts as leakage only."""
_LOOKED_AT = 30.0
"""Seconds of each segment that are listened to."""
_FRAME = SAMPLE_RATE // 50

Levels = NDArray[np.float64]
"""[segments, tracks] in dB."""


def tracks_of(
    segments: Sequence[CompanionSegment], decoded: DecodedAudio, read: Read
) -> tuple[list[int | None], list[str]]:
    """The track of each segment, None if its channel was not kept; and notes on what was found."""
    names = [segment.channel for segment in segments]
    from_zero = "0" in names
    named = [_track(name, from_zero, decoded) for name in names]
    if decoded.tracks == 1:
        return _on_only_track(segments, named, decoded, read)
    levels = _levels(segments, decoded, read)
    loudest = levels.argmax(axis=1)
    ordered = np.sort(levels, axis=1)
    certain = ordered[:, -1] - ordered[:, -2] >= CERTAIN
    groups = [(segment.speaker, segment.channel) for segment in segments]
    usual = _usual(segments, groups, loudest, certain)
    tracks: list[int | None] = []
    for index, group in enumerate(groups):
        nobody = group[0] in ("", UNKNOWN_SPEAKER) and len({g[1] for g in groups}) == 1
        if certain[index] or nobody:
            tracks.append(int(loudest[index]))
        else:
            tracks.append(usual.get(group, named[index] if named[index] is not None else int(loudest[index])))
    return tracks, _notes(segments, named, tracks, decoded)


def _track(name: str | None, from_zero: bool, decoded: DecodedAudio) -> int | None:
    """The track that a channel's name means; None if it means none of those that were kept."""
    if name is None:
        return None
    channel = int(name) - (not from_zero) if name.isdigit() else "ABCDEFGH".index(name)
    channels = decoded.track_channels or tuple(range(decoded.tracks))
    return channels.index(channel) if channel in channels else None


def _on_only_track(
    segments: Sequence[CompanionSegment], named: Sequence[int | None], decoded: DecodedAudio, read: Read
) -> tuple[list[int | None], list[str]]:
    """Segments on other channels than the only one that was kept are left out where it is silent."""
    tracks: list[int | None] = [0] * len(segments)
    several = len({segment.channel for segment in segments} - {None}) > 1
    if decoded.channel_mode != "one" or decoded.channels < 2 or not several:
        return tracks, []
    levels = _levels(segments, decoded, read)[:, 0]
    for index, track in enumerate(named):
        if track is None and segments[index].channel is not None and levels[index] < SILENT:
            tracks[index] = None
    return tracks, []


def _levels(segments: Sequence[CompanionSegment], decoded: DecodedAudio, read: Read) -> Levels:
    """How loud each segment is on each track, relative to the loud segments of that track."""
    levels = np.array(
        [
            [
                _level(read(track, s.start, min(s.end, s.start + _LOOKED_AT)))
                for track in range(decoded.tracks)
            ]
            for s in segments
        ]
    )
    own = np.percentile(levels, 95, axis=0)
    relative: Levels = levels - np.maximum(own, own.max() - _QUIETEST)
    return relative


def _level(samples: Samples) -> float:
    """The level in dB that 20 ms of a segment usually have: pauses and short interruptions don't count."""
    if not len(samples):
        return -120.0
    width = min(_FRAME, len(samples))
    frames = samples[: len(samples) // width * width].reshape(-1, width).astype(np.float64)
    return float(10 * np.log10(np.percentile((frames**2).mean(axis=1), 60) + 1e-12))


def _usual(
    segments: Sequence[CompanionSegment],
    groups: Sequence[tuple[str, str | None]],
    loudest: NDArray[np.intp],
    certain: NDArray[np.bool_],
) -> dict[tuple[str, str | None], int]:
    """The track on which each speaker and channel is certainly heard, for most of the time."""
    seconds: dict[tuple[str, str | None], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for segment, group, track, sure in zip(segments, groups, loudest, certain, strict=True):
        if sure:
            seconds[group][int(track)] += segment.end - segment.start
    return {group: max(of, key=lambda track: (of[track], -track)) for group, of in seconds.items()}


def _notes(
    segments: Sequence[CompanionSegment],
    named: Sequence[int | None],
    tracks: Sequence[int | None],
    decoded: DecodedAudio,
) -> list[str]:
    if all(segment.channel is None for segment in segments):
        return ["it names no channels: each turn is on the channel where it is heard"]
    moved = [index for index, track in enumerate(tracks) if track != named[index]]
    if not moved:
        return []
    first = segments[moved[0]]
    channels = decoded.track_channels or tuple(range(decoded.tracks))
    heard = channels[tracks[moved[0]] or 0] + 1
    return [
        f"{len(moved)} of {len(segments)} turns are heard on another channel than it names, the first at "
        f"{first.start:g} s: on channel {heard} (from 1), not on {first.channel!r}"
    ]
