"""`--tensor-parallel`: the commands answer with a model in several processes as with one that is whole."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.inference.answerer import open_answerer
from pipeline.serving.model import Limits, ServedModel
from tests.pipeline.tiny_models import SHORT, SPEECH, write_public
from tests.pipeline.tiny_server import LONG, TIMEOUT, Client, endless, serving, text_request

SPLIT = ("--tensor-parallel", 2)


@pytest.fixture(scope="module")
def public(tmp_path_factory, step1_tokenizer):
    """A model with an even number of ids."""
    return write_public(tmp_path_factory.mktemp("public") / "model", step1_tokenizer)


@contextmanager
def served(public, vocoder):
    """`serve` as a process, and its client."""
    command = Path(sys.executable).with_name("aqaa-data")
    arguments = ("--checkpoint", public, "--tokenizer", SPEECH, "--vocoder", vocoder, "--port", "0", "--json")
    arguments += ("--max-tokens", str(LONG), *map(str, SPLIT))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen([command, "serve", *arguments], **pipes, start_new_session=True)
    try:
        reply = json.loads(running.stdout.readline())
        yield running, Client(int(reply["url"].rpartition(":")[2]))
    finally:
        running.kill()
        running.wait()


def parts_of(pid):
    """The processes that a command has started to hold its model."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return sorted(int(own) for own, parent, args in rows if int(parent) == pid and "spawn_main" in args)


def gone(pids):
    """Whether processes end soon."""
    end = time.monotonic() + TIMEOUT
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_question_and_candidates_have_the_answers_of_one_process(command, public, tmp_path):
    ask = ("answer", SHORT, "--checkpoint", public, "--tokenizer", SPEECH, "--max-tokens", 30)
    greedy = (*ask, "--temperature", 0, "--tokens-only", "--json")
    whole, split = command(*greedy), command(*greedy, *SPLIT)
    assert whole.code == split.code == 0, split.stderr
    (*events, last), (*same, other) = (
        list(map(json.loads, done.stdout.splitlines())) for done in (whole, split)
    )
    assert events == same
    assert other["ids"] == last["ids"]
    rows = [tmp_path / "whole.jsonl", tmp_path / "split.jsonl"]
    for file, options in zip(rows, ((), SPLIT), strict=True):
        done = command(*ask, "--candidates", 3, "--out", file, *options)
        assert done.code == 0, done.stderr
    assert rows[0].read_text() == rows[1].read_text()


def test_what_cannot_be_divided_is_one_message(command, public, tmp_path):
    ask = ("answer", SHORT, "--text", "--checkpoint", public, "--tokenizer", SPEECH)
    there = command(*ask, *SPLIT, "--endpoint", "http://127.0.0.1:9/v1")
    assert (there.code, "--tensor-parallel divides a model that runs here" in there.stderr) == (2, True)
    odd = command(*ask, "--tensor-parallel", 3)
    assert (odd.code, odd.stderr.count("\n")) == (1, 1)
    assert "--tensor-parallel 3 does not divide the model's heads, 4" in odd.stderr


def test_serve_answers_several_at_once_as_one_process_does(public, vocoder):
    def asked(number):
        return text_request(max_tokens=20 + number, temperature=0)

    replies = []
    for parts in (1, 2):
        answerer = open_answerer(public, SPEECH, tensor_parallel=parts)
        limits = Limits(tokens=100, seconds=10, megabytes=1)
        model = ServedModel("tiny", answerer, open_answer_vocoder(vocoder), limits, rows=3)
        with serving(model, max_queue=8) as client, ThreadPoolExecutor(4) as pool:
            replies.append(list(pool.map(lambda n: client.ask(**asked(n))["choices"], range(4))))
    assert replies[0] == replies[1]


def test_serve_ends_with_one_message_when_a_process_does(public, vocoder):
    with served(public, vocoder) as (running, client):
        parts = parts_of(running.pid)
        assert len(parts) == 2
        with endless(client):
            os.kill(parts[1], signal.SIGKILL)
            _, stderr = running.communicate(timeout=TIMEOUT)
    assert running.returncode == 1
    assert stderr.count("aqaa-data: ") == 1
    *_, last = stderr.splitlines()
    assert last.startswith("aqaa-data: process 2 of the 2 that hold the model failed")
    assert gone(parts)


@pytest.mark.slow
def test_ctrl_c_which_reaches_all_processes_ends_them(public, vocoder):
    with served(public, vocoder) as (running, client):
        parts = parts_of(running.pid)
        with endless(client):
            os.killpg(running.pid, signal.SIGINT)
            _, stderr = running.communicate(timeout=TIMEOUT)
    assert (running.returncode, "Traceback" in stderr) == (0, False)
    assert stderr.endswith("stopped\n")
    assert gone(parts)


@pytest.mark.slow
def test_killing_the_command_ends_its_processes(public, vocoder):
    with served(public, vocoder) as (running, client):
        parts = parts_of(running.pid)
        with endless(client):
            running.kill()
            assert gone(parts)
