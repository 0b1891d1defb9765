"""The device of a stage, and what happens when GPU memory runs out."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from schemas.errors import SetupError
from stages.gpu import device_of, halving_on_oom, require_cublas

NO_MEMORY = {
    "torch": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "ctranslate2": RuntimeError("CUDA failed with error out of memory"),
}
WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize("library", NO_MEMORY)
def test_halving_keeps_the_order(library):
    def work(parts):
        if len(parts) > 3:
            raise NO_MEMORY[library]
        return list(parts)

    assert halving_on_oom(work, range(11)) == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9, 10]]


def test_halving_ends_with_what_was_raised_for_a_single_item():
    def work(parts):
        raise NO_MEMORY["ctranslate2"]

    with pytest.raises(RuntimeError, match="out of memory"):
        halving_on_oom(work, range(11))


def test_other_errors_halve_nothing():
    tried = []

    def work(parts):
        tried.append(len(parts))
        raise RuntimeError("the shapes don't match")

    with pytest.raises(RuntimeError, match="shapes"):
        halving_on_oom(work, range(11))
    assert tried == [11]


@WITHOUT_GPU
def test_without_a_gpu_the_device_is_the_cpu_unless_a_gpu_is_asked_for():
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(SetupError, match="set `device: auto`"):
        device_of("cuda")


def test_on_a_gpu_float32_is_computed_without_tf32():
    script = (
        "import torch; from stages import gpu; gpu.gpu_available = lambda: True; "
        "of = torch.backends; print(gpu.device_of('auto'), of.cuda.matmul.fp32_precision, "
        "of.cudnn.conv.fp32_precision, of.cudnn.rnn.fp32_precision)"
    )
    assert printed(script) == "cuda ieee ieee ieee"


@WITHOUT_GPU
def test_a_missing_cublas_is_told_with_what_to_do():
    with pytest.raises(
        SetupError,
        match=r"(?s)libcublas\.so\.12.*pip install nvidia-cublas-cu12.*resources\.transcribe\.gpus",
    ):
        require_cublas("transcribe")


def test_cublas_of_a_package_is_found(tmp_path):
    """Another version of it, under the name of the wanted one: both are opened by their paths."""
    import nvidia

    [place] = nvidia.__path__
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    for name in ("libcublas", "libcublasLt"):
        (folder / f"{name}.so.12").symlink_to(next((Path(place) / "cu13" / "lib").glob(f"{name}.so.*")))
    script = f"""
import sys, nvidia
from stages.gpu import open_cublas
found = [open_cublas()]
nvidia.__path__.append({str(tmp_path / "nvidia")!r})
print(*found, open_cublas())
"""
    assert printed(script) in ("False True", "True True")


def printed(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()
