"""Checks on a recording after all of it has been decoded once."""

import numpy as np

from schemas.errors import DataError
from stages.decode.config import DecodeConfig
from stages.decode.reading import AudioReader
from stages.decode.survey import Survey


def check(source: AudioReader, survey: Survey, config: DecodeConfig) -> None:
    """Note what is doubtful in a recording. Raises DataError if it is unusable."""
    _check_duration(source, config)
    if source.streams > 1:
        source.notes.add(
            "streams",
            f"number {source.stream + 1} of {source.streams} audio streams is used; the others are left out",
        )
    if source.skipped:
        source.notes.add("damage", f"damaged packets skipped: {source.skipped}")
    if source.damaged:
        share = source.damaged / (survey.samples * survey.channels)
        damaged = f"{share:.2%} of the samples are not finite or far beyond full scale"
        if share > config.max_damaged_share:
            raise DataError("damaged_samples", damaged)
        source.notes.add("damage", damaged + " and were silenced")
    if source.seconds < config.min_seconds:
        raise DataError(
            "too_short",
            f"the recording lasts {source.seconds:.3f} s, less than the minimum of {config.min_seconds:g} s",
        )
    if survey.loudest_dbfs < config.min_level_dbfs:
        offset = float(np.abs(survey.mean).max())
        if offset > 0.01:
            raise DataError(
                "dc_only", f"it contains only a constant offset of {offset:.2f}: no microphone was connected"
            )
        raise DataError("silent", f"no part of it is louder than {config.min_level_dbfs:g} dBFS")


def _check_duration(source: AudioReader, config: DecodeConfig) -> None:
    """Compare the declared duration with what is there, both ways."""
    declared, sound = source.declared, source.sound_seconds
    complete = max(declared or 0.0, source.seconds)
    missing = declared is not None and declared - source.seconds > _tolerance(declared)
    if missing or source.skipped:
        lost = f"the header declares {complete:.1f} s, the file contains {sound:.1f} s"
        damaged = source.cut_off or source.skipped
        if damaged and sound < config.min_decoded_share * complete:
            raise DataError(
                "truncated",
                f"{lost} and was cut off or damaged; a lower decode.min_decoded_share than "
                f"{config.min_decoded_share:g} keeps it",
            )
    if missing and source.cut_off:
        source.notes.add("truncated", f"{lost}: it was cut off")
    elif missing:
        source.notes.add("header", f"{lost}, whole to its end: all of it is used")
    elif source.cut_off and source.container == "ogg":
        source.notes.add("truncated", "the Ogg stream has no end mark, it may have been cut off")
    elif declared is not None and min(sound, source.seconds) - declared > _tolerance(declared):
        source.notes.add(
            "header",
            f"the header declares {declared:.1f} s, the file contains {sound:.1f} s: all of it is used",
        )


def _tolerance(seconds: float) -> float:
    """Seconds by which a declared duration may differ from that of the audio: padding, and rounding."""
    return min(1.0, max(0.1, 0.02 * seconds))
