"""Requests a second of the server by number of clients.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.serve_requests [--clients 1 8] [--batch 1 8]

Server and clients are threads of one process. The model is a `tiny` one with random weights, which always
reach the limit of tokens, and the vocoder is that of the tests, so what is measured is the server and the
sampling. Every client asks one question after another. CPU seconds are those of the process, so other load on
the machine changes them less than the requests a second.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.inference.answerer import open_answerer
from pipeline.models import resolve
from pipeline.serving.model import Limits, ServedModel
from schemas.vocabulary import Vocabulary
from tests.pipeline.tiny_models import write_checkpoint, write_vocoder
from tests.pipeline.tiny_server import Client, serving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--requests", type=int, default=16, help="of each measurement")
    parser.add_argument("--tokens", type=int, default=60, help="of each answer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| answers | `--batch` | clients | requests/s | requests a CPU second |\n" + "| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Vocabulary.of("embedded", resolve("package:whisper-base").path)
        answerer = open_answerer(write_checkpoint(Path(folder) / "tiny", vocabulary))
        vocoder = open_answer_vocoder(write_vocoder(Path(folder) / "vocoder"))
        for batch in arguments.batch:
            model = ServedModel("tiny", answerer, vocoder, Limits(arguments.tokens, 10, 1), batch)
            with serving(model, max_queue=64) as client:
                for modalities in (["text"], ["text", "audio"]):
                    ask(client, 0, modalities)  # warm up
                    for count in arguments.clients:
                        row = measured(client, modalities, count, arguments.requests)
                        print(f"| {' and '.join(modalities)} | {batch} | {count} | {row} |", flush=True)


def measured(client: Client, modalities: list[str], clients: int, requests: int) -> str:
    began, used = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda seed: ask(client, seed, modalities), range(requests)))
    used, took = time.process_time() - used, time.monotonic() - began
    return f"{requests / took:.2f} | {requests / used:.2f}"


def ask(client: Client, seed: int, modalities: list[str]) -> None:
    messages = [{"role": "user", "content": f"Number {seed}?"}]
    client.ask(messages=messages, modalities=modalities, seed=seed)


if __name__ == "__main__":
    main()
