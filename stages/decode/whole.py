"""Reads a short recording into memory as one channel at its own sample rate, for use without a build."""

from pathlib import Path

import numpy as np

from schemas.errors import DataError
from stages.decode.channels import choose, mean_of_all
from stages.decode.checks import check
from stages.decode.config import DecodeConfig
from stages.decode.reading import open_audio
from stages.stage import Samples

MAX_SECONDS = 3600
"""Longer recordings need a build, which reads them in pieces."""


def read_whole(path: Path, config: DecodeConfig) -> tuple[Samples, int]:
    """The mean of the channels [n], or of those that don't cancel each other, and the sample rate in Hz.

    Raises DataError for the recordings that decode sets aside, and `too_long` above an hour.
    """
    with open_audio(path) as source:
        survey = source.survey()
        check(source, survey, config)
        if source.seconds > MAX_SECONDS:
            raise DataError(
                "too_long",
                f"the recording lasts {source.seconds:.0f} s; at most {MAX_SECONDS} s are supported",
            )
        tracks = mean_of_all(survey) or choose(survey, source.names, "mix")
    with open_audio(path, source.stream) as second_pass:
        return np.concatenate([tracks.of(block)[:, 0] for block in second_pass.blocks()]), source.rate
