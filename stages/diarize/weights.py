"""Safe loading of pyannote checkpoints: only weights are read, and no code in a file is executed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from schemas.errors import SetupError

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@contextmanager
def weights_only(what: str) -> Iterator[None]:
    """Within the context, torch.load accepts only tensors and pyannote's own record classes.

    pyannote itself asks for full pickles, which can execute code. Raises SetupError for a file that needs
    that; `what` names it.
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
            f"{what} contains more than weights, which could execute code: save its weights only, or use "
            "another checkpoint"
        ) from error
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
