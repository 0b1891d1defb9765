"""Predicted memory and hours of a run."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

from schemas.errors import SetupError
from stages.train.config import LoRAConfig, TrainConfig
from stages.train.lora import adapt
from stages.train.model import Step1
from stages.train.plan import hours, memory_of, parameters, steps_of, suggest, trained_parameters
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


def test_float32_weights_gradients_and_moments_are_sharded_over_all_devices():
    one, eight = (memory_of(PRESETS["step1-3b"], CONFIG, devices) for devices in (1, 8))
    assert one.optimizer == pytest.approx(8 * PRESETS["step1-3b"].parameters, rel=1e-6)
    assert eight.optimizer == one.optimizer // 8
    assert one.activations == eight.activations


def test_as_little_tensor_parallelism_as_possible():
    assert suggest(PRESETS["step1-3b"], CONFIG, "h100", 8)[1].tensor_parallel == 1
    large = suggest(PRESETS["step1-130b"], CONFIG, "h100")[1]
    assert large.fits
    assert large.devices > 16
    assert large.memory.total < 80e9
    assert not suggest(PRESETS["step1-130b"], CONFIG, "h100", 8)[1].fits


def test_activation_checkpointing_takes_less_memory():
    kept, computed = (
        memory_of(PRESETS["step1-3b"], CONFIG.model_copy(update={"activation_checkpointing": recompute}), 8)
        for recompute in (False, True)
    )
    assert computed.activations < kept.activations / 4


LORA = CONFIG.model_copy(update={"lora": LoRAConfig(rank=16)})


def test_adapters_are_counted_as_they_are_made(ids):
    for lora in (LoRAConfig(), LoRAConfig(rank=4, targets=("k_proj", "down_proj"))):
        with torch.device("meta"):
            model = Step1(PRESETS["tiny"])
        adapt(model, lora, ids)
        made = sum(each.numel() for each in model.parameters() if each.requires_grad)
        assert trained_parameters(PRESETS["tiny"], lora) == made


def test_lora_keeps_weights_as_stored_and_gradients_and_moments_of_adapters_only():
    shape = PRESETS["step1-3b"]
    every, adapted = memory_of(shape, CONFIG, 1), memory_of(shape, LORA, 1, stored=2)
    # Of each layer 16 x (4 x 6144 + 2 x 3328 + ...): 24 M of 3.5 B.
    trained = 32 * 16 * (2 * 6144 + 2 * (3072 + 256) + 3 * (3072 + 8192))
    assert trained_parameters(shape, LORA.lora) == trained
    assert adapted.optimizer == 8 * trained
    assert adapted.gradients == 4 * trained
    assert adapted.weights == pytest.approx(2 * shape.parameters + 4 * trained, rel=1e-6)
    assert adapted.activations == every.activations
    assert adapted.total < every.total / 2


def test_lora_computes_two_thirds_of_the_products_with_weights():
    shape = PRESETS["step1-3b"]
    every, adapted = (hours(shape, config, 1e9, 0, "h100", 8, 0.4) for config in (CONFIG, LORA))
    assert adapted == pytest.approx(every * 2 / 3)


def test_hours_are_flops_divided_by_those_of_the_gpus():
    """6 FLOPs per parameter and token, and 6 x hidden x length for attention in each layer."""
    shape = PRESETS["step1-3b"]
    operations = 6 * (shape.backbone_parameters + shape.vocabulary * shape.hidden) * 1e9
    operations += 6 * shape.layers * shape.hidden * 1000 * 1e9
    result = hours(shape, CONFIG, 1e9, document=1000, kind="h100", devices=8, mfu=0.4)
    assert result == pytest.approx(operations / (8 * 989e12 * 0.4) / 3600)
    assert steps_of(CONFIG, 1e9) == 239


def test_an_unknown_gpu_is_refused():
    with pytest.raises(SetupError, match="unknown GPU tpu: choose one of h100, h800"):
        suggest(PRESETS["tiny"], CONFIG, "tpu")


def measured(*arguments):
    """Measured peak memory of a training process, as a share of the planned."""
    script = BENCHMARKS / "training_memory.py"
    environment = os.environ | {"PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    environment["MALLOC_MMAP_THRESHOLD_"] = "262144"  # what is freed goes back, and is not counted
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])


@pytest.mark.slow
def test_the_tiny_model_takes_the_planned_memory():
    result = measured("tiny", "--sequence-length", "512")
    assert result["planned"] == pytest.approx(result["measured"], rel=0.2)


@pytest.mark.slow
def test_the_small_model_takes_the_planned_memory():
    result = measured("small", "--sequence-length", "1024")
    assert result["planned"] == pytest.approx(result["measured"], rel=0.2)
