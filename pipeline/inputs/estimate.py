"""An estimate of the hours in a listing, from the headers of a sample of its files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.inputs.listing import ListedRecording, extension
from pipeline.inputs.part import FilePart
from pipeline.inputs.part_reading import open_part, ranged
from pipeline.inputs.refusals import refusal_of
from pipeline.inputs.units import PlannedUnit
from pipeline.storage.store import split
from schemas.hashing import hash_fraction

PROBES = 40
"""Headers read per extension."""

_UNKNOWN = 16_000.0
"""Bytes per second if no header could be read."""


@dataclass(frozen=True)
class HoursEstimate:
    """Bytes per second of audio by extension, and the seconds of a listing that follow from them."""

    rates: dict[str, float]
    seconds: float

    @staticmethod
    def of(recordings: Sequence[ListedRecording]) -> "HoursEstimate":
        """Probe recordings of each extension, drawn by a hash."""
        groups: dict[str, list[ListedRecording]] = defaultdict(list)
        for recording in recordings:
            groups[extension(recording.id)].append(recording)
        rates = {
            name: _rate(sorted(group, key=lambda r: hash_fraction(r.id))[:PROBES])
            for name, group in groups.items()
        }
        return HoursEstimate(rates, sum(r.bytes / rates[extension(r.id)] for r in recordings))

    def seconds_of(self, recording: ListedRecording) -> float:
        return recording.bytes / self.rates.get(extension(recording.id), _UNKNOWN)


def take_hours(
    units: Sequence[PlannedUnit], estimate: HoursEstimate, hours: float
) -> tuple[PlannedUnit, ...]:
    """Units of about a number of hours, drawn by a hash; the full build later reuses their work.

    If the first unit alone is longer, as many of its recordings as fit, at least one.
    """
    drawn = sorted(units, key=lambda unit: hash_fraction(unit.id))
    taken: list[PlannedUnit] = []
    left = hours * 3600
    for unit in drawn:
        left -= sum(estimate.seconds_of(r) for r in unit.recordings)
        if left < 0:
            break
        taken.append(unit)
    if not taken and drawn:
        taken.append(PlannedUnit(_first_hours(drawn[0].recordings, estimate, hours)))
    return tuple(sorted(taken, key=lambda unit: unit.recordings[0].id))


def _first_hours(
    recordings: Sequence[ListedRecording], estimate: HoursEstimate, hours: float
) -> tuple[ListedRecording, ...]:
    count, seconds = 0, 0.0
    for recording in recordings:
        seconds += estimate.seconds_of(recording)
        if count and seconds > hours * 3600:
            break
        count += 1
    return tuple(recordings[:count])


def _rate(probes: Sequence[ListedRecording]) -> float:
    """Median bytes per second of some recordings, without implausible and unreadable headers."""
    rates = [rate for probe in probes if (rate := _probe(probe)) is not None]
    return median(rates) if rates else _UNKNOWN


def _probe(recording: ListedRecording) -> float | None:
    """Bytes per second according to a file's header; None if it is implausible or can't be read."""
    import av

    if refusal_of(recording.etag):  # a pipe would wait for its other end
        return None
    part = FilePart.parse(recording.uri)
    if part and not ranged(part):  # nothing is inflated for an estimate
        return None
    store, name = split(part.file if part else recording.uri)
    try:
        with open_part(part) if part else store.open(name) as file, av.open(file, "r") as container:
            seconds = (container.duration or 0) / av.time_base
    except (OSError, ValueError, av.FFmpegError):
        return None
    # From 4 kbit/s (speech codecs) to 12 Mbit/s (float, many channels); outside of that the header is wrong.
    return rate if seconds and 500 < (rate := recording.bytes / seconds) < 1_500_000 else None
