"""`aqaa-data serve` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.pipeline.tiny_server import LONG, TIMEOUT, Client, endless


def test_the_command_serves_until_ctrl_c(tiny_checkpoint, vocoder):
    command = Path(sys.executable).with_name("aqaa-data")
    arguments = (
        "--checkpoint",
        tiny_checkpoint,
        "--vocoder",
        vocoder,
        "--port",
        "0",
        "--name",
        "mine",
        "--json",
    )
    arguments += ("--max-tokens", str(LONG))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen([command, "serve", *arguments], **pipes)
    try:
        reply = json.loads(running.stdout.readline())
        client = Client(int(reply["url"].rpartition(":")[2]))
        assert client.health()["model"] == reply["model"] == "mine"
        with endless(client):
            os.kill(running.pid, signal.SIGINT)
            _, stderr = running.communicate(timeout=TIMEOUT)
    finally:
        running.kill()
    assert running.returncode == 0
    assert "mine answers at http://127.0.0.1:" in stderr
    assert stderr.strip().endswith("stopped")
    assert "Traceback" not in stderr


def test_an_address_in_use_is_reported_before_loading(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--checkpoint", tmp_path, "--port", port)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert f"can't listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    done = command("serve", "--checkpoint", tmp_path, "--port", 0, "--host", "no.such.host.invalid")
    assert "can't listen on" in done.stderr


def test_a_wrong_recogniser_is_reported_before_loading(command, tmp_path):
    done = command("serve", "--checkpoint", tmp_path, "--port", 0, "--recogniser", "package:whisper-bas")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert "did you mean package:whisper-base?" in done.stderr


def test_a_wrong_file_of_keys_is_reported_before_loading(command, tmp_path):
    done = command("serve", "--checkpoint", tmp_path, "--port", 0, "--api-key-file", tmp_path)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert "can't be read as a file of keys: Is a directory" in done.stderr
