"""Checks on a recording after all of it has been decoded once."""

import numpy as np

from schemas.errors import DataError
from stages.decode.config import DecodeConfig
from stages.decode.headers import lacks_end_mark
from stages.decode.reading import AudioReader
from stages.decode.survey import Survey


def check(source: AudioReader, survey: Survey, config: DecodeConfig) -> tuple[str, ...]:
    """What was repaired or is doubtful, as sentences. Raises DataError if the recording is unusable."""
    repairs = []
    decoded, expected = source.decoded / source.rate, max(source.declared or 0, source.seconds)
    truncated = f"the header declares {expected:.1f} s, the file contains {decoded:.1f} s"
    tolerance = max(0.06, 0.02 * expected)
    if expected - decoded > tolerance and decoded < max(0.5, config.min_decoded_share * expected):
        raise DataError("truncated", truncated)
    if expected - source.seconds > tolerance:
        repairs.append(truncated)
    if source.container == "ogg" and lacks_end_mark(source.path):
        repairs.append("the Ogg stream has no end mark, it may have been cut off")
    if source.filled:
        repairs.append(
            f"{source.filled / source.rate:.1f} of {expected:.1f} s are missing in the middle and were "
            "replaced with silence"
        )
    if source.skipped:
        repairs.append(f"damaged packets skipped: {source.skipped}")
    if source.damaged:
        share = source.damaged / (survey.samples * survey.channels)
        damaged = f"{share:.2%} of the samples are not finite or far beyond full scale"
        if share > config.max_damaged_share:
            raise DataError("damaged_samples", damaged)
        repairs.append(damaged + " and were silenced")
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
    return tuple(repairs)
