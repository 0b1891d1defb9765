"""Checkpoints of a run in progress; `test_loop.py` resumes from them."""

import subprocess
import sys

THREADS = """
import os, sys
from pathlib import Path
import torch
from stages.train.config import TrainConfig
from stages.train.model import Step1
from stages.train.optimizer import adamw
from stages.train.parallel import joined, parallelize
from stages.train.shape import PRESETS
from stages.train.snapshot import FolderSnapshots, read, write

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
config = TrainConfig(precision="float32")
with joined(1) as world:
    with torch.device("meta"):
        model = Step1(PRESETS["talk"])
    parallelize(model, world, config)
    model.to_empty(device="cpu")
    model.initialise(0)
    optimizer, snapshots = adamw(model, config), FolderSnapshots(Path(sys.argv[1]))
    tokens = torch.arange(200).repeat(3)[None]

    def step():
        model.losses(tokens, torch.zeros_like(tokens), torch.arange(599), tokens[0, 1:]).mean().backward()
        optimizer.step()
        return threads()

    before = step()
    write(snapshots, 1, model, optimizer, world)
    written = step()
    read(snapshots, 1, model, optimizer)
    print(before, written, step())
"""


def test_a_process_alone_has_no_more_threads_after_a_checkpoint(tmp_path):
    """Those of OpenMP that gloo leaves slow every later step down."""
    ran = subprocess.run(
        [sys.executable, "-c", THREADS, tmp_path], capture_output=True, text=True, check=True, timeout=300
    )
    before, written, read = ran.stdout.split()
    assert before == written == read
