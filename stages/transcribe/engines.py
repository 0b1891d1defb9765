"""The recogniser of a configuration, loaded."""

from collections.abc import Callable, Mapping
from pathlib import Path

from stages.endpoint import Endpoint
from stages.replies import Replies
from stages.transcribe.config import RecogniserConfig
from stages.transcribe.recogniser import AlignedRecogniser, Aligner, Engine, Recogniser
from stages.transcribe.server import ServerEngine
from stages.transcribe.whisper import WhisperRecogniser


def load_recogniser(
    config: RecogniserConfig,
    models: Mapping[str, Path],
    threads: int,
    replies: Callable[[], Replies],
    aligner: Aligner | None,
) -> Recogniser:
    """Load a recogniser for use by `threads` threads at once. Raises SetupError if it can't be loaded.

    `replies` opens the cache of the server's replies; `aligner` gives words their times.
    """
    if config.engine == "faster-whisper":
        return WhisperRecogniser(models[config.model], config.device, config.precision, config.beam, threads)
    engine: Engine
    if config.server:
        engine = ServerEngine(config.server, Endpoint(config.server, replies()))
    else:
        from stages.transcribe.transformers_engine import TransformersEngine

        engine = TransformersEngine(
            models[config.model], config.device, config.precision, config.beam, threads
        )
    return AlignedRecogniser(engine, aligner)
