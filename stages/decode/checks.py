"""What is wrong with a recording, in words, once all of it has been seen."""

import numpy as np

from schemas.errors import DataError
from stages.decode.config import DecodeConfig
from stages.decode.headers import lacks_end_mark
from stages.decode.reading import Source
from stages.decode.survey import Survey


def checked(source: Source, survey: Survey, config: DecodeConfig) -> tuple[str, ...]:
    """What was mended, in words. Raises DataError where too little is left."""
    repairs = []
    decoded, whole = source.decoded / source.rate, max(source.declared or 0, source.seconds)
    lost = f"the header promises {whole:.1f} s, the file holds {decoded:.1f} s"
    unnoticed = max(0.06, 0.02 * whole)
    if whole - decoded > unnoticed and decoded < max(0.5, config.min_decoded_share * whole):
        raise DataError("truncated", lost)
    if whole - source.seconds > unnoticed:
        repairs.append(lost)
    if source.container == "ogg" and lacks_end_mark(source.path):
        repairs.append("the Ogg stream has no end mark, it may have been cut off")
    if source.filled:
        repairs.append(
            f"{source.filled / source.rate:.1f} of {whole:.1f} s are missing inside, silence stands for them"
        )
    if source.skipped:
        repairs.append(f"damaged packets skipped: {source.skipped}")
    if source.damaged:
        share = source.damaged / (survey.samples * survey.channels)
        wrong = f"{share:.2%} of the samples are no numbers or far beyond full scale"
        if share > config.max_damaged_share:
            raise DataError("damaged_samples", wrong)
        repairs.append(wrong + " and were silenced")
    if source.seconds < config.min_seconds:
        raise DataError(
            "too_short",
            f"{source.seconds:.3f} s of audio are fewer than the {config.min_seconds:g} s asked for",
        )
    if survey.loudest_dbfs < config.min_level_dbfs:
        offset = float(np.abs(survey.mean).max())
        if offset > 0.01:
            raise DataError(
                "dc_only", f"nothing but a constant offset of {offset:.2f}: no microphone was connected"
            )
        raise DataError("silent", f"nothing in it is louder than {config.min_level_dbfs:g} dBFS")
    return tuple(repairs)
