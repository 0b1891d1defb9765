"""Requests a second of `aqaa-data serve` by number of clients.

    PYTHONPATH=. python tests/benchmarks/serve_requests.py [--clients 1 8] [--batch 1 8] [--requests N]

A server in a process of its own has a `tiny` model with random weights, and the vocoder of the tests, so that
what is measured is the server and the sampling. Every client asks one question after another, each with a
seed of its own; all have the same limit of tokens, which random weights always reach.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from pipeline.models import resolve
from schemas.vocabulary import Vocabulary
from tests.pipeline.tiny_models import write_checkpoint, write_vocoder
from tests.pipeline.tiny_server import Client

TOKENS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--requests", type=int, default=16, help="of each measurement")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| answers | --batch | clients | requests/s | CPU s a request | slowest |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Vocabulary.of("embedded", resolve("package:whisper-base").path)
        checkpoint = write_checkpoint(Path(folder) / "tiny", vocabulary)
        vocoder = write_vocoder(Path(folder) / "vocoder")
        for batch in arguments.batch:
            for modalities in (["text"], ["text", "audio"]):
                measure(checkpoint, vocoder, batch, modalities, arguments.clients, arguments.requests)


def measure(
    checkpoint: Path, vocoder: Path, batch: int, modalities: list[str], clients: list[int], requests: int
) -> None:
    """Print a row for each number of clients."""
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--port", "0", "--json", "--batch", str(batch)]
    command += ["--checkpoint", str(checkpoint), "--vocoder", str(vocoder), "--max-queue", "64"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        client = Client(int(url.rpartition(":")[2]))

        def ask(seed: int) -> float:
            began = time.monotonic()
            body: dict[str, Any] = {"messages": [{"role": "user", "content": f"Number {seed}?"}]}
            client.ask(**body, modalities=modalities, max_tokens=TOKENS, seed=seed)
            return time.monotonic() - began

        ask(0)  # warm up
        for count in clients:
            began, used = time.monotonic(), cpu_seconds(server.pid)
            with ThreadPoolExecutor(count) as pool:
                times = list(pool.map(ask, range(requests)))
            rate = requests / (time.monotonic() - began)
            each = (cpu_seconds(server.pid) - used) / requests
            row = (
                " and ".join(modalities),
                batch,
                count,
                f"{rate:.2f}",
                f"{each:.2f}",
                f"{max(times):.1f} s",
            )
            print(f"| {' | '.join(map(str, row))} |", flush=True)
    finally:
        server.terminate()
        server.wait()


def cpu_seconds(process: int) -> float:
    """Of all threads of a process (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
