"""The sound of turns, for formats that carry it."""

from pipeline.export.annotated import DECODE
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.pack.run import flac_of
from pipeline.versions.reader import Version
from schemas.errors import DataError, SetupError
from schemas.recording import Recording
from stages.decode import DecodeConfig
from stages.stage import Samples


def spooled(version: Version) -> SpooledAudio:
    """The audio of a version's recordings. One for each recording, so that only one is decoded on disk."""
    config = DecodeConfig.model_validate(version.manifest.recipe["decode"])
    return SpooledAudio(scratch_folder(None), config, version.manifest.stages[DECODE])


def clip(audio: SpooledAudio, recording: Recording, track: int, start: float, end: float) -> bytes:
    """FLAC of a track between two times in seconds. Raises SetupError if the recording can't be read."""
    return flac_of(samples_between(audio, recording, track, start, end))


def samples_between(
    audio: SpooledAudio, recording: Recording, track: int, start: float, end: float
) -> Samples:
    """Samples [n] at 16 kHz of a track between two times in seconds. Raises SetupError as `clip`."""
    try:
        return audio.read(recording, track, start, end)
    except DataError as error:
        raise SetupError(
            f"can't read the audio of {recording.uri}: {error}: put the file back, or export a format "
            "without audio, such as lhotse or nemo"
        ) from error
