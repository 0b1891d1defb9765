"""The GPU that a stage was given: a build hides all GPUs from workers that reserve none."""

import ctypes
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from schemas.errors import SetupError
from stages.stage import Config, is_out_of_gpu_memory

if TYPE_CHECKING:
    import torch  # which takes seconds to import

DeviceName = Literal["auto", "cpu", "cuda"]
Item = TypeVar("Item")
Result = TypeVar("Result")

CUBLAS = "libcublas.so.12"
"""What CTranslate2 opens; PyTorch comes with the one after it."""
INSTALL_CUBLAS = "pip install nvidia-cublas-cu12"


class DeviceConfig(Config):
    """Settings of a stage whose results on a GPU are those of a CPU but for rounding."""

    device: DeviceName = Field(
        "auto",
        description="device that the models run on; auto: in a build a GPU if the stage's `resources` "
        "reserve one, elsewhere a GPU if there is one",
    )

    def content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"device"})


def gpu_available() -> bool:
    """Whether this process may use a GPU."""
    import torch

    return torch.cuda.is_available()


def device_of(name: DeviceName = "auto") -> "torch.device":
    """The device of a setting. On a GPU, float32 is computed as on a CPU, without TF32.

    Raises SetupError if a GPU is asked for and there is none.
    """
    import torch

    if name == "cpu" or (name == "auto" and not gpu_available()):
        return torch.device("cpu")
    if not gpu_available():
        raise SetupError("`device: cuda` needs a GPU, and this process has none: set `device: auto`")
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    return torch.device("cuda")


def halving_on_oom(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """`work(items)`, or its results on halves of the items, as small as GPU memory requires.

    Raises what the library raised if memory is too small for a single item.
    """
    import torch

    try:
        return [work(items)]
    except RuntimeError as error:
        if len(items) == 1 or not is_out_of_gpu_memory(error):
            raise
    # Outside of the handler, because the error references the tensors of the failed attempt.
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return [*halving_on_oom(work, items[:middle]), *halving_on_oom(work, items[middle:])]


def open_cublas() -> bool:
    """Open the cuBLAS that CTranslate2 needs: the system's, or that of the package nvidia-cublas-cu12, which
    CTranslate2 wouldn't find itself. Whether there is one."""
    package = importlib.util.find_spec("nvidia")
    places = (package.submodule_search_locations or ()) if package else ()
    for folder in ("", *(f"{place}/cublas/lib/" for place in places)):
        try:
            for name in ("libcublasLt.so.12", CUBLAS):  # which needs the first
                ctypes.CDLL(folder + name, ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return True
    return False


def require_cublas(stage: str) -> None:
    """Raises SetupError if CTranslate2 can't use a GPU here, with what to do."""
    if not open_cublas():
        raise SetupError(
            f"{stage}: CTranslate2 needs {CUBLAS} to use a GPU, and there is none: install it on every "
            f"machine with {INSTALL_CUBLAS}, or set resources.{stage}.gpus to 0"
        )


def ctranslate2_finds_gpu() -> bool:
    """Whether CTranslate2 can use a GPU here. Says so if there is one that it can't use."""
    if not gpu_available() or open_cublas():
        return gpu_available()
    logging.getLogger(__name__).warning(
        "CTranslate2 leaves the GPU idle, because it needs %s: %s", CUBLAS, INSTALL_CUBLAS
    )
    return False
