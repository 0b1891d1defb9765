"""Step 1: matrix products by cuBLAS, and a Whisper encoder by CTranslate2, against those of a CPU."""

import ctypes
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from tests.gpu.check.setting import CannotRunError, Facts, Setting, apart, at_most
from tests.gpu.check.whisper import write_whisper


def measure(setting: Setting) -> Iterator[Facts]:
    yield from products(setting)
    yield from encoder(setting)


def products(setting: Setting) -> Iterator[Facts]:
    size = setting.pick(8192, 512)
    a, b = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    rows = slice(0, 64)
    exact = a[rows].double() @ b.double()
    a, b = a.to(setting.device), b.to(setting.device)
    for name, precision, dtype, most in (
        ("float32", "ieee", torch.float32, 1e-5),
        ("tf32", "tf32", torch.float32, 2e-3),
        ("bfloat16", "ieee", torch.bfloat16, 2e-2),
    ):
        torch.backends.cuda.matmul.fp32_precision = precision
        x, y = a.to(dtype), b.to(dtype)
        yield at_most(f"{name}_apart", apart(exact, (x @ y)[rows]), most)
        seconds = setting.seconds(lambda x=x, y=y: x @ y, repeats=5)
        yield {f"{name}_tflops": round(2 * size**3 / seconds / 1e12, 2)}


def encoder(setting: Setting) -> Iterator[Facts]:
    if find_spec("ctranslate2") is None:
        raise CannotRunError("CTranslate2 is not installed")
    import ctranslate2

    if setting.on_gpu:
        yield {"cublas_12": (library := cublas_12())}
        if library is None:
            yield {"cublas_12": f"none: {renamed_cublas(setting.folder)} is opened under its name"}
    sizes = setting.pick((1280, 32, 20), (64, 2, 4))
    source = write_whisper(setting.folder / "whisper", *sizes, setting.device)
    folder = str(setting.folder / "ctranslate2")
    ctranslate2.converters.TransformersConverter(str(source)).convert(folder)
    mels = np.random.default_rng(0).standard_normal((16, 80, 3000), np.float32)

    def encoded(device: str, precision: str, rows: int) -> np.ndarray:
        model = models.setdefault(
            (device, precision), ctranslate2.models.Whisper(folder, device=device, compute_type=precision)
        )
        states = model.encode(ctranslate2.StorageView.from_array(mels[:rows]), to_cpu=True)
        return np.array(states.to(ctranslate2.DataType.float32))

    models: dict[tuple[str, str], ctranslate2.models.Whisper] = {}
    expected = torch.from_numpy(encoded("cpu", "float32", 1))
    device = setting.device.type
    for precision, most in (("float32", 1e-3), ("float16", 3e-2)) if setting.on_gpu else (("int8", 0.3),):
        actual = torch.from_numpy(encoded(device, precision, 1))
        yield at_most(f"encoder_{precision}_apart", apart(expected, actual), most)
        rows = setting.pick(16, 2)
        seconds = setting.seconds(lambda p=precision, n=rows: encoded(device, p, n))
        yield {f"encoder_{precision}_x_real_time": round(30 * rows / seconds)}


def cublas_12() -> str | None:
    """The cuBLAS that CTranslate2 asks for."""
    try:
        ctypes.CDLL("libcublas.so.12", ctypes.RTLD_GLOBAL)
    except OSError:
        return None
    return "libcublas.so.12"


def renamed_cublas(folder: Path) -> Path:
    """Open the cuBLAS of PyTorch's CUDA under the name of the one before it: does that work?"""
    found = [
        file
        for place in sys.path
        for file in sorted(Path(place).glob("nvidia/*/lib/libcublas*.so.1?"))
        if not file.name.endswith(".so.12")
    ]
    if not found:
        raise CannotRunError("there is no libcublas.so.12, which CTranslate2 needs, and no other cuBLAS")
    for file in sorted(found, reverse=True):  # cublasLt first: the other one needs it
        link = folder / f"{file.name.split('.')[0]}.so.12"
        link.symlink_to(file)
        ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(link), ctypes.RTLD_GLOBAL)
    return found[0]
