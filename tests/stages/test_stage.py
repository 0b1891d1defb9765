"""A fault of the machine or its set-up stops the build; only bad data is set aside."""

import ctypes
import errno
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from schemas.errors import DataError, SetupError
from schemas.recording import Problem, QualityColumn, Recording, Unit
from stages.stage import Config, Stage, problem_of

TOO_MUCH = 2**50
"""More bytes than any machine has."""


def onnx_allocation() -> None:
    """Ask ONNX Runtime for a tensor of `TOO_MUCH` bytes."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [TOO_MUCH])
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["out"])],
        "graph",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        onnx.ModelProto.SerializeToString(model), options, providers=["CPUExecutionProvider"]
    )
    session.run(None, {})


def raised(error: Exception) -> Callable[[], None]:
    """Raises an error whose cause needs a GPU, with the message of the library that raises it."""

    def work() -> None:
        raise error

    return work


GPU_MEMORY = {
    "torch": raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a ..")),
    "torch.cuda": raised(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")),
    "ctranslate2": raised(RuntimeError("CUDA failed with error out of memory")),
    "ctranslate2 allocator": raised(RuntimeError("CUDA out of memory")),
    "cublas": raised(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    ),
}

HOST_MEMORY = {
    "numpy": lambda: np.zeros(TOO_MUCH, np.uint8),
    "python": lambda: bytearray(TOO_MUCH),
    "torch": lambda: torch.empty(TOO_MUCH, dtype=torch.uint8),
    "onnxruntime": onnx_allocation,
    "system": raised(OSError(errno.ENOMEM, "Cannot allocate memory")),
}

LIBRARIES = {
    "ctypes": lambda: ctypes.CDLL("libcublas.so.99"),
    "ctranslate2": raised(RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")),
    "cudnn": raised(RuntimeError("Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9}")),
    "python": lambda: __import__("a_module_that_is_not_installed"),
}

GPU_FAILURES = {
    "no driver": raised(RuntimeError("CUDA driver version is insufficient for CUDA runtime version")),
    "illegal access": raised(
        RuntimeError("CUDA error: an illegal memory access was encountered\nCompile ..")
    ),
    "cudnn": raised(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED")),
}


class FailingStage(Stage[Config]):
    name = "quality"
    version = 1
    memory_settings = ("quality.batch",)
    work: Callable[[], object]

    def __call__(self, unit: Unit) -> Unit:
        def annotate(recording: Recording) -> QualityColumn:
            self.work()
            return QualityColumn(())

        return self._each_recording(unit, annotate, lambda problems: QualityColumn((), problems))

    def _load_models(self) -> None:
        self.work()


def stage_that(work: Callable[[], object]) -> FailingStage:
    stage = FailingStage(Config(), audio=None, models={})
    stage.work = work
    return stage


UNIT = Unit("u", (Recording("a.wav", "file:///a.wav", 1, "", "{}"),))


def setup_error(work: Callable[[], object]) -> str:
    """The message of the SetupError that a stage raises for it, in setup as in a recording."""
    with pytest.raises(SetupError) as in_setup:
        stage_that(work).setup()
    with pytest.raises(SetupError) as in_recording:
        stage_that(work)(UNIT)
    assert str(in_setup.value) == str(in_recording.value)
    return str(in_recording.value)


@pytest.mark.parametrize("work", GPU_MEMORY.values(), ids=GPU_MEMORY)
def test_running_out_of_gpu_memory_names_the_stage_and_the_settings_to_change(work):
    message = setup_error(work)
    assert message.startswith("quality: out of GPU memory: ")
    assert "Lower quality.batch or resources.quality.cpus" in message
    assert "raise resources.quality.gpus" in message


@pytest.mark.parametrize("work", HOST_MEMORY.values(), ids=HOST_MEMORY)
def test_running_out_of_memory_names_the_stage_and_the_settings_to_lower(work):
    message = setup_error(work)
    assert message.startswith("quality: out of memory: ")
    assert "Lower quality.batch or resources.quality.cpus" in message


@pytest.mark.parametrize("work", LIBRARIES.values(), ids=LIBRARIES)
def test_a_missing_library_is_named(work):
    assert setup_error(work).startswith("quality: a library is missing or can't be loaded: ")


@pytest.mark.parametrize("work", GPU_FAILURES.values(), ids=GPU_FAILURES)
def test_a_failing_gpu_stops_the_build(work):
    message = setup_error(work)
    assert message.startswith("quality: the GPU failed: ")
    assert "Compile" not in message


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device", "/x"), SetupError("stop")], ids=str
)
def test_a_full_disk_and_a_setup_error_stop_the_build(error):
    setup_error(raised(error))


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (DataError("silent", "nothing is heard"), Problem("silent", "nothing is heard")),
        (ValueError("bad shape"), Problem("unexpected", "ValueError: bad shape")),
        (RuntimeError("kernel size can't exceed input"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.wav"), None),
    ],
)
def test_any_other_error_sets_the_recording_aside(error, problem):
    assert problem_of(error) == (problem or Problem("unexpected", f"{type(error).__name__}: {error}"))
    assert problem_of(error, 3) == replace(problem_of(error), turn=3)
    [done] = stage_that(raised(error))(UNIT).recordings
    assert done.quality == QualityColumn((), (problem_of(error),))


def test_running_out_of_memory_while_loading_a_model_names_the_settings_too():
    def load() -> None:
        try:
            raise RuntimeError("CUDA failed with error out of memory")
        except RuntimeError as error:
            raise SetupError("can't load the model") from error

    with pytest.raises(SetupError, match=r"^quality: out of GPU memory: .* Lower quality\.batch"):
        stage_that(load).setup()


def test_a_setup_error_keeps_its_own_message():
    def load() -> None:
        try:
            raise ImportError("No module named 'opencc'")
        except ImportError as error:
            raise SetupError("set chinese_script to keep") from error

    with pytest.raises(SetupError, match=r"^set chinese_script to keep$"):
        stage_that(load).setup()


def test_an_unknown_error_in_setup_is_raised_unchanged():
    with pytest.raises(ValueError, match="bad shape"):
        stage_that(raised(ValueError("bad shape"))).setup()


def test_a_recording_set_aside_before_is_not_processed():
    problem = Problem("silent", "nothing is heard")
    out = replace(UNIT.recordings[0], transcribe=QualityColumn((), (problem,)))
    [done] = stage_that(raised(AssertionError("processed")))(Unit("u", (out,))).recordings
    assert done.quality == QualityColumn(())


def test_errors_outside_of_a_stage_give_no_advice_on_its_settings():
    with pytest.raises(SetupError, match=r"^out of GPU memory: CUDA failed with error out of memory$"):
        problem_of(RuntimeError("CUDA failed with error out of memory"))
