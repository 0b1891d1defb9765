"""A decoder in several processes has the logits of one process."""

import gc
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from schemas.errors import SetupError
from stages.train.backbone import reader_of
from stages.train.batch_cache import BatchReader
from stages.train.cache import CHUNK_IDS, Step1Reader
from stages.train.checkpoint import save
from stages.train.model import Step1
from stages.train.model_part import PartShape
from stages.train.shape import Shape
from stages.train.split_model import SplitBatchReader, open_split

LITTLE = Shape(hidden=48, ffn=80, heads=4, groups=2, layers=2, vocabulary=98, context=1024)
TIMEOUT = 120
"""Seconds; generous, for busy machines."""


def little():
    torch.set_num_threads(1)
    model = Step1(LITTLE)
    model.initialise(seed=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3  # so that logits are as large as those of trained models
    return model


def opened(folder, parts=2, device="cpu"):
    return open_split(folder, parts, device, torch.float32)


@pytest.fixture(scope="module")
def whole():
    return little()


@pytest.fixture(scope="module")
def split(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("split") / "model"
    save(whole, folder)
    return opened(folder)


def ids(length, seed=0):
    return np.random.default_rng(seed).integers(0, LITTLE.vocabulary, length).tolist()


def assert_same(logits, expected):
    assert logits.shape == expected.shape
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_a_sequence_has_the_logits_of_one_process_and_so_have_its_copies(whole, split):
    divided, expected = reader_of(split), Step1Reader(whole)
    for part in (ids(CHUNK_IDS + 30), [5], [LITTLE.vocabulary - 1], ids(3)):
        assert_same(divided.read(part), expected.read(part))
    copies = divided.copy(), expected.copy()
    assert_same(divided.read([7]), expected.read([7]))
    del divided, expected
    gc.collect()
    assert_same(*(copy.read([9, 10]) for copy in copies))


def test_sequences_that_join_and_leave_a_batch_have_them_too(whole, split):
    divided, expected = SplitBatchReader(split.processes, rows=3), BatchReader(whole, rows=3)
    for seed, length in enumerate((4, 30, 9)):
        readers = reader_of(split), Step1Reader(whole)
        for reader in readers:
            reader.read(ids(length, seed))
        divided.join(readers[0])
        expected.join(readers[1])
        for step in range(2):
            last = ids(seed + 1, step)
            assert_same(divided.read(last), expected.read(last))
    for batch in (divided, expected):
        batch.leave(0)
    assert_same(divided.read([1, 2]), expected.read([1, 2]))


def test_a_process_holds_its_share_of_all_but_the_norms():
    with torch.device("meta"):
        whole, part = Step1(LITTLE), Step1(PartShape.of(LITTLE, 2))
    norms = (2 * LITTLE.layers + 1) * LITTLE.hidden
    elements = [sum(parameter.numel() for parameter in model.parameters()) for model in (whole, part)]
    assert elements[0] - norms == 2 * (elements[1] - norms)


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ({"heads": 3, "groups": 3}, "heads, 3"),
        ({"heads": 6, "groups": 3}, "groups, 3"),
        ({"ffn": 81}, "ffn, 81"),
        ({"vocabulary": 97}, "vocabulary, 97"),
    ],
)
def test_a_size_that_cannot_be_divided_is_named(size, named, tmp_path):
    save(Step1(Shape(**vars(LITTLE) | size)), tmp_path)
    with pytest.raises(SetupError, match=f"--tensor-parallel 2 does not divide the model's {named}$"):
        opened(tmp_path)


def test_other_models_and_too_few_gpus_are_refused(tmp_path, monkeypatch):
    save(Step1(LITTLE), tmp_path)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(SetupError, match="--tensor-parallel 2 needs as many GPUs, and this machine has 1"):
        opened(tmp_path, device="cuda")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(SetupError, match="divides only Step-1 decoders"):
        opened(tmp_path)


def test_weights_that_do_not_fit_are_told_before_any_process_starts(whole, tmp_path):
    save(whole, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"intermediate_size": 82}
    (tmp_path / "config.json").write_text(json.dumps(config))
    before = set(multiprocessing.active_children())
    with pytest.raises(SetupError, match=r"gate_proj.weight is \[80, 48\], not \[82, 48\]"):
        opened(tmp_path)
    assert set(multiprocessing.active_children()) == before


def test_the_end_of_one_process_is_the_end_of_all_with_one_message(whole, tmp_path):
    before = set(multiprocessing.active_children())
    save(whole, tmp_path)
    model = opened(tmp_path)
    started = set(multiprocessing.active_children()) - before
    reader = reader_of(model)
    reader.read([1])
    assert model.processes.failure is None
    os.kill(max(process.pid for process in started), signal.SIGKILL)
    with pytest.raises(SetupError, match=r"process 2 of the 2 .* failed: signal 9 ended it") as raised:
        reader.read([1])
    assert model.processes.failure == str(raised.value)
    with pytest.raises(SetupError, match="process 2 of the 2"):
        reader.copy()
    for process in started:
        process.join(TIMEOUT)
        assert not process.is_alive()


def test_an_error_in_a_process_is_told(whole, tmp_path):
    save(whole, tmp_path)
    reader = reader_of(opened(tmp_path))
    with pytest.raises(SetupError, match=r"process . of the 2 .* failed: ValueError: Overflow"):
        reader.read([2**70])


def test_processes_end_with_the_model(whole, tmp_path):
    before = set(multiprocessing.active_children())
    save(whole, tmp_path)
    model = opened(tmp_path)
    started = set(multiprocessing.active_children()) - before
    del model
    gc.collect()
    end = time.monotonic() + TIMEOUT
    while any(process.is_alive() for process in started):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [process.exitcode for process in started] == [0, 0]
