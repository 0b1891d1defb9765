"""A short recording whole, in one channel at its own sample rate: what a tokenizer alone wants of a file."""

from pathlib import Path

import numpy as np

from schemas.errors import DataError
from stages.decode.channels import choose, mean_of_all
from stages.decode.checks import checked
from stages.decode.config import DecodeConfig
from stages.decode.reading import opened
from stages.decode.survey import survey_of
from stages.stage import Samples

MOST_SECONDS = 3600
"""Longer ones are the build's work, which reads them piece by piece."""


def read_whole(path: Path, config: DecodeConfig) -> tuple[Samples, int]:
    """The mean of the channels [n], or of those that don't cancel each other, and their rate in Hz.

    Raises DataError as decode does, and `too_long` over an hour.
    """
    with opened(path) as source:
        survey = survey_of(source)
        checked(source, survey, config)
        if source.seconds > MOST_SECONDS:
            raise DataError("too_long", f"{source.seconds:.0f} s are more than the {MOST_SECONDS} read whole")
        tracks = mean_of_all(survey) or choose(survey, source.names, "mix")
    with opened(path) as again:
        return np.concatenate([tracks.of(block)[:, 0] for block in again.blocks()]), source.rate
