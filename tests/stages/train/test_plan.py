"""What a run is said to take, before it starts."""

import json
import os
import subprocess
import sys
import time

import pytest

from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.plan import hours, memory_of, parameters, steps_of, suggest
from stages.train.shape import PRESETS
from tests.paths import BENCHMARKS

CONFIG = TrainConfig(sequence_length=8192, global_batch_size=512)


def test_parameters_are_those_of_the_public_shapes():
    for name, shape in PRESETS.items():
        assert parameters(shape)[0] == shape.parameters, name


def test_the_130_b_shape_is_planned_in_seconds():
    began = time.monotonic()
    _, layout = suggest(PRESETS["step1-130b"], CONFIG, "h100", 512)
    assert layout.fits
    assert time.monotonic() - began < 60


def test_float32_weights_gradients_and_moments_are_shared_by_all_devices():
    one, eight = (memory_of(PRESETS["step1-3b"], CONFIG, devices) for devices in (1, 8))
    assert one.optimizer == pytest.approx(8 * PRESETS["step1-3b"].parameters, rel=1e-6)
    assert eight.optimizer == one.optimizer // 8
    assert one.activations == eight.activations


def test_as_little_tensor_parallelism_as_will_do():
    assert suggest(PRESETS["step1-3b"], CONFIG, "h100", 8)[1].tensor_parallel == 1
    large = suggest(PRESETS["step1-130b"], CONFIG, "h100")[1]
    assert large.fits
    assert large.devices > 16
    assert large.memory.total < 80e9
    assert not suggest(PRESETS["step1-130b"], CONFIG, "h100", 8)[1].fits


def test_computing_layers_twice_takes_less_memory():
    kept, computed = (
        memory_of(PRESETS["step1-3b"], CONFIG.model_copy(update={"activation_checkpointing": recompute}), 8)
        for recompute in (False, True)
    )
    assert computed.activations < kept.activations / 4


def test_hours_are_operations_over_what_the_gpus_do():
    """6 operations a parameter and token, and 6 x hidden x length of attention in each layer."""
    shape = PRESETS["step1-3b"]
    operations = 6 * (shape.backbone_parameters + shape.vocabulary * shape.hidden) * 1e9
    operations += 6 * shape.layers * shape.hidden * 1000 * 1e9
    found = hours(shape, CONFIG, 1e9, document=1000, kind="h100", devices=8, mfu=0.4)
    assert found == pytest.approx(operations / (8 * 989e12 * 0.4) / 3600)
    assert steps_of(CONFIG, 1e9) == 239


def test_an_unknown_gpu_is_refused():
    with pytest.raises(SetupError, match="no figures of the GPU tpu are known: one of h100, h800"):
        suggest(PRESETS["tiny"], CONFIG, "tpu")


def measured(*arguments):
    """What a process that trains takes at its peak, beside what was planned."""
    script = BENCHMARKS / "training_memory.py"
    environment = os.environ | {"PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    environment["MALLOC_MMAP_THRESHOLD_"] = "262144"  # what is freed goes back, and is not counted
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])


def test_the_tiny_model_takes_the_memory_that_is_planned():
    found = measured("tiny", "--sequence-length", "512")
    assert found["planned"] == pytest.approx(found["measured"], rel=0.2)


@pytest.mark.slow
def test_the_small_model_takes_the_memory_that_is_planned():
    found = measured("small", "--sequence-length", "1024")
    assert found["planned"] == pytest.approx(found["measured"], rel=0.2)
