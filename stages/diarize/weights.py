"""Checkpoints of pyannote, read as weights: nothing that a file holds is run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from schemas.errors import SetupError

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@contextmanager
def weights_only(what: str) -> Iterator[None]:
    """While the context is open torch loads tensors and pyannote's own records alone, whoever asks it.

    pyannote asks for whole pickles, which may run anything. Raises SetupError for a file that needs more.
    """
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from torch.torch_version import TorchVersion

    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        with torch.serialization.safe_globals([Problem, Resolution, Specifications, TorchVersion]):
            yield
    except UnpicklingError as error:
        raise SetupError(
            f"{what} holds more than weights, which is not run: convert it to weights alone, or take another"
        ) from error
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
