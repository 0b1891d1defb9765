"""Answers over HTTP: `aqaa-data serve`, by a real server on a real socket."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile

from pipeline.inference.answer_vocoder import AnswerVocoder, open_answer_vocoder
from pipeline.inference.answerer import Answerer, open_answerer
from pipeline.inference.conversation import PromptMessage, prompt
from pipeline.inference.tokenize_files import tokenize_file
from pipeline.serving.model import PCM_RATE, Limits, ServedModel
from pipeline.serving.server import create_server
from stages.train.vocoder.shape import RATE
from tests.paths import RECORDINGS
from tests.pipeline.tiny_models import QUESTION, SHORT

PATIENCE = 120
"""Seconds that a busy machine is given."""
FORMATS = RECORDINGS / "formats"
LONG = 4000
"""Tokens of an answer that goes on for as long as anybody listens."""


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def open(self, body, raw=None, kind="application/json", path="/v1/chat/completions"):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        content = json.dumps(body) if raw is None else raw
        connection.request("POST", path, content, {"Content-Type": kind})
        return connection

    def post(self, body=None, **how):
        """Status and what came back."""
        with closing_connection(self.open(body, **how)) as connection:
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers

    def ask(self, **body):
        status, told, _ = self.post(body)
        assert status == 200, told
        return told

    def stream(self, **body):
        """The chunks, without the `[DONE]` that must stand behind them."""
        with closing_connection(self.open(body | {"stream": True})) as connection:
            response = connection.getresponse()
            assert (response.status, response.headers["Content-Type"].split(";")[0]) == (
                200,
                "text/event-stream",
            )
            *events, done, _ = response.read().decode().split("\n\n")
        assert done == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def get(self, path):
        with closing_connection(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers

    def health(self):
        return json.loads(self.get("/health")[1])

    def until(self, **wanted):
        """Wait for a state of health."""
        end = time.monotonic() + PATIENCE
        while not wanted.items() <= (health := self.health()).items():
            assert time.monotonic() < end, health
            time.sleep(0.05)


@contextmanager
def closing_connection(connection) -> Iterator[HTTPConnection]:
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(scope="module")
def answerer(tiny_checkpoint) -> Answerer:
    return open_answerer(tiny_checkpoint)


@pytest.fixture(scope="module")
def voice(vocoder) -> AnswerVocoder:
    return open_answer_vocoder(vocoder)


@contextmanager
def serving(model, waiting=1) -> Iterator[Client]:
    """A server in a thread of this process."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = create_server(model, waiting)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    client = Client(bound.getsockname()[1])
    client.stop = lambda: (server.handle_exit(signal.SIGTERM, None), thread.join(PATIENCE))
    try:
        client.until(status="ok")
        yield client
    finally:
        client.stop()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(answerer, voice) -> Iterator[Client]:
    with serving(
        ServedModel("tiny", answerer, voice, Limits(tokens=LONG, seconds=12, megabytes=1))
    ) as client:
        yield client


def spoken(*files, text=None):
    parts = [] if text is None else [{"type": "text", "text": text}]
    for file in files:
        data = base64.b64encode(file.read_bytes()).decode()
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    return {"role": "user", "content": parts}


ASK = {"messages": [spoken(SHORT)], "max_completion_tokens": 50, "seed": 5}
ALOUD = ASK | {"modalities": ["text", "audio"]}


def wav_of(told):
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(told["data"])), dtype="int16")
    assert rate == RATE
    return samples.astype(int)


def pcm_of(data):
    return np.frombuffer(base64.b64decode(data), "<i2").astype(int)


def deltas(chunks):
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def test_an_answer_in_text_and_sound(client, answerer, voice, vocabulary):
    told = client.ask(**ALOUD, audio={"format": "wav", "voice": "alloy"}, model="tiny")
    assert (told["object"], told["model"]) == ("chat.completion", "tiny")
    [choice] = told["choices"]
    message = choice["message"]
    assert (message["role"], message["content"], choice["finish_reason"]) == ("assistant", None, "length")
    assert message["audio"]["transcript"].strip()
    assert message["audio"]["expires_at"] > time.time()
    usage = told["usage"]
    asked = tokenize_file(str(SHORT), answerer.tokenizer)
    ids = prompt([PromptMessage("human", (asked.codes,))], vocabulary)
    assert usage["prompt_tokens"] == len(ids)
    assert usage["prompt_tokens_details"]["audio_tokens"] == len(asked.ids)
    assert usage["completion_tokens_details"]["audio_tokens"] >= 20
    # It is the same answer that the command gives.
    from stages.train.sampling import Sampling

    events = list(voice.speak(answerer.answer(ids, answerer.form, Sampling(seed=5, max_tokens=50)), 5))
    by_hand = np.concatenate([event.samples for event in events if hasattr(event, "samples")])
    assert message["audio"]["transcript"] == events[-1].text
    assert np.abs(wav_of(message["audio"]) - by_hand * 32767).max() <= 1


def test_what_is_streamed_is_what_is_told_whole(client):
    whole = client.ask(**ALOUD, audio={"format": "pcm16", "voice": "x"})
    chunks = client.stream(**ALOUD, stream_options={"include_usage": True})
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    first, *others = deltas(chunks)
    assert first == {"role": "assistant"}
    audio = [delta["audio"] for delta in others if delta]
    assert len({piece["id"] for piece in audio}) == 1
    said = whole["choices"][0]["message"]["audio"]
    assert "".join(piece.get("transcript", "") for piece in audio) == said["transcript"]
    pieces = [pcm_of(piece["data"]) for piece in audio if "data" in piece]
    assert len(pieces) >= 2
    streamed, at_once = np.concatenate(pieces), pcm_of(said["data"])
    assert len(streamed) == len(at_once)
    assert np.abs(streamed - at_once).max() <= 1
    groups = whole["usage"]["completion_tokens_details"]["audio_tokens"] // 5
    assert len(streamed) / PCM_RATE == pytest.approx(groups * 0.12, abs=0.02)
    assert streamed.std() > 50
    kinds = ["data" in piece for piece in audio if "data" in piece or "transcript" in piece]
    assert kinds.index(True) < len(kinds) - 1 - kinds[::-1].index(False)  # sound before the last text
    assert "expires_at" in audio[-1]
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"] == whole["usage"]


def test_text_alone(client):
    whole = client.ask(**ASK)
    message = whole["choices"][0]["message"]
    assert "audio" not in message
    assert message["content"].strip()
    assert whole["usage"]["completion_tokens_details"]["audio_tokens"] == 0
    assert "".join(delta.get("content", "") for delta in deltas(client.stream(**ASK))) == message["content"]
    for body in (ASK | {"seed": 6}, ASK | {"temperature": 0}, ASK | {"top_p": 0.01}):
        assert client.ask(**body)["choices"][0]["message"]["content"] != message["content"]


def test_a_written_question_with_a_system_prompt(client, vocabulary):
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Who is there?"}]
    told = client.ask(messages=messages, max_tokens=5)
    ids = prompt(
        [PromptMessage("system", ("Be brief.",)), PromptMessage("human", ("Who is there?",))], vocabulary
    )
    assert told["usage"]["prompt_tokens"] == len(ids)


def test_an_earlier_answer_is_named_by_its_id_or_its_text(client, vocabulary, answerer):
    said = client.ask(**ALOUD)["choices"][0]["message"]["audio"]
    by_id = {"role": "assistant", "audio": {"id": said["id"]}}
    by_text = {"role": "assistant", "content": said["transcript"]}
    alone, *told = (
        client.ask(**ASK | {"messages": [*before, spoken(SHORT, text="And then?")]})
        for before in ([], [spoken(SHORT), by_id], [spoken(SHORT), by_text])
    )
    contents = [answer["choices"][0]["message"]["content"] for answer in (alone, *told)]
    assert contents[0] != contents[1] == contents[2]
    codes = tokenize_file(str(SHORT), answerer.tokenizer).codes
    expected = prompt(
        [
            PromptMessage("human", (codes,)),
            PromptMessage("assistant", (said["transcript"].strip(),)),
            PromptMessage("human", ("And then?", codes)),
        ],
        vocabulary,
    )
    assert told[0]["usage"]["prompt_tokens"] == len(expected)


@pytest.mark.parametrize(
    "name", ["2414-128291-0005_64k.mp3", "2414-128291-0005.m4a", "2414-128291-0005.webm"]
)
def test_audio_is_told_by_its_content(client, name):
    told = client.ask(messages=[spoken(FORMATS / name)], max_tokens=2)
    assert told["usage"]["prompt_tokens_details"]["audio_tokens"] > 20


def audio(data):
    return {
        "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": data}}]}]
    }


def text(**more):
    return {"messages": [{"role": "user", "content": "Hello"}]} | more


URL = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
LOST = {"role": "assistant", "audio": {"id": "audio_of_yesterday"}}
HELLO = {"role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    ("body", "status", "param", "said"),
    [
        ({}, 400, "messages", "required"),
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": [HELLO] * 257}, 400, "messages", "at most 256"),
        (text(messages=[{"role": "user", "content": ""}]), 400, "messages[0]", "is empty"),
        (text(messages=[{"role": "tool", "content": "x"}]), 400, "messages[0].role", "'user'"),
        (
            text(messages=[{"role": "user", "content": [URL]}]),
            400,
            "messages[0].content[0].type",
            "input_audio",
        ),
        (text(messages=[HELLO, {"role": "assistant", "content": "x"}]), 400, None, "the last of `messages`"),
        (text(messages=[HELLO, {"role": "system", "content": "x"}, HELLO]), 400, None, "only the first"),
        (text(messages=[HELLO, LOST, HELLO]), 400, "messages[1].audio.id", "send its text"),
        (text(messages=[{**LOST, "role": "user"}]), 400, "messages[0]", "an earlier answer"),
        (text(modalities=["audio"]), 400, None, '["text", "audio"]'),
        (text(modalities=["text", "video"]), 400, "modalities[1]", "'audio'"),
        (text(audio={"format": "wav"}), 400, None, "goes with"),
        (text(modalities=["text", "audio"], audio={"format": "mp3"}), 400, "audio.format", "'pcm16'"),
        (text(modalities=["text", "audio"], audio={"format": "wav"}, stream=True), 400, None, "is pcm16"),
        (text(temperature=-1), 400, "temperature", "greater than or equal to 0"),
        (text(top_p=0), 400, "top_p", "greater than 0"),
        (text(max_tokens=LONG + 1), 400, "max_completion_tokens", "at most 4,000 tokens"),
        (text(n=2), 400, "n", "1"),
        (text(tools=[]), 400, "tools", "tools is not supported"),
        (text(model="gpt-4o-audio-preview"), 404, "model", "this server's model is tiny"),
        (audio("/etc/passwd!"), 400, "messages[0].content[0].input_audio.data", "no base64"),
        (audio("file"), 400, "messages[0].content[0].input_audio.data", "not audio"),
        (audio(""), 400, "messages[0].content[0].input_audio.data", "empty"),
        ({"messages": [HELLO] * 3 + [spoken(SHORT, *[QUESTION] * 3)]}, 400, "messages[3].content[3]", "12 s"),
    ],
)
def test_what_can_not_be_asked_is_said_with_its_place(client, body, status, param, said):
    found, told, _ = client.post(body)
    error = told["error"]
    assert found == status
    assert said in error["message"]
    assert (error["param"] or "").startswith(param or "")
    assert (error["param"] is None) == (param is None)
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "name", ["text.mp3", "header_only.wav", "zero_bytes.wav", "no_moov.m4a", "short_30ms.wav"]
)
def test_broken_audio_is_the_clients_fault(client, name):
    status, told, _ = client.post({"messages": [spoken(RECORDINGS / "bad" / name)]})
    assert status == 400
    assert told["error"]["param"] == "messages[0].content[0].input_audio.data"
    assert "/" not in told["error"]["message"]  # no path of this machine


def test_a_body_that_is_no_json_or_too_large(client):
    assert client.post(raw="{")[0] == 400
    assert client.post(raw="{}", kind="text/plain")[0] == 415
    status, told, _ = client.post(raw=" " * 1_000_001)
    assert (status, told["error"]["code"]) == (413, "request_too_large")
    status, told, _ = client.post(text(), path="/v1/completions")
    assert (status, told["error"]["type"]) == (404, "not_found_error")


def test_a_question_that_leaves_no_room(answerer, voice):
    messages = [{"role": "user", "content": "word " * answerer.model.shape.context}]
    with serving(ServedModel("tiny", answerer, voice, Limits(10, 10, 1))) as client:
        status, told, _ = client.post({"messages": messages})
    assert (status, told["error"]["code"]) == (400, "context_length_exceeded")


def test_it_tells_of_itself(client):
    assert client.health() == {"status": "ok", "model": "tiny", "busy": False, "waiting": 0}
    [model] = json.loads(client.get("/v1/models")[1])["data"]
    assert (model["id"], model["object"]) == ("tiny", "model")
    assert client.get("/docs")[0] == 404


@contextmanager
def endless(client, streamed=True) -> Iterator[HTTPConnection]:
    """An answer that is being made until the client leaves."""
    body = ALOUD | {"max_completion_tokens": LONG, "stream": streamed}
    with closing_connection(client.open(body)) as connection:
        if streamed:
            response = connection.getresponse()
            assert response.readline().startswith(b"data: ")
            connection.answer = response
        yield connection


@pytest.mark.parametrize("streamed", [True, False])
def test_nothing_is_made_for_who_has_left(client, streamed):
    with endless(client, streamed):
        client.until(busy=True)
    client.until(busy=False)
    assert client.ask(**ASK)


def test_one_is_answered_one_waits_and_the_next_is_told_to_come_back(client):
    with ThreadPoolExecutor(1) as pool:
        with endless(client):
            second = pool.submit(client.ask, **ASK)
            client.until(busy=True, waiting=1)
            status, told, headers = client.post(ASK)
            assert (status, told["error"]["type"]) == (429, "rate_limit_error")
            assert int(headers["Retry-After"]) > 0
        assert second.result(PATIENCE)["choices"][0]["message"]["content"]
    client.until(busy=False, waiting=0)


def test_who_leaves_while_waiting_gives_the_place_free(client):
    with endless(client):
        with endless(client, streamed=False):
            client.until(waiting=1)
        client.until(waiting=0)
    client.until(busy=False)


def test_the_log_says_how_long_it_took_and_not_what_was_said(client, caplog, answerer, voice):
    class Broken(ServedModel):
        def answer(self, request, id):
            raise ValueError(f"can't say {request.messages}")

    caplog.set_level("DEBUG")
    secret = "hunter2"
    told = client.ask(messages=[{"role": "user", "content": secret}], max_tokens=20)
    client.post(text(messages=[{"role": "user", "content": secret, secret: 1}]))
    with serving(Broken("broken", answerer, voice, Limits(10, 10, 1))) as broken:
        status, error, _ = broken.post(text(messages=[{"role": "user", "content": secret}]))
    assert (status, error["error"]["type"]) == (500, "server_error")
    assert re.search(r"0\.0 s of audio answered in \d+ tokens; first text", caplog.text)
    assert "an answer failed: ValueError" in caplog.text
    assert "test_app.py" in caplog.text
    assert secret not in caplog.text
    assert told["choices"][0]["message"]["content"].strip() not in caplog.text


def test_a_server_that_is_stopped_says_so_to_who_is_listening(answerer, voice):
    with (
        serving(ServedModel("tiny", answerer, voice, Limits(LONG, 10, 1))) as client,
        endless(client) as asked,
    ):
        client.stop()
        *_, last = asked.answer.read().decode().strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["error"]["message"] == "the server is being stopped"


def test_the_command_listens_until_ctrl_c(tiny_checkpoint, vocoder):
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
        told = json.loads(running.stdout.readline())
        client = Client(int(told["url"].rpartition(":")[2]))
        assert client.health()["model"] == told["model"] == "mine"
        with endless(client):
            os.kill(running.pid, signal.SIGINT)
            _, stderr = running.communicate(timeout=PATIENCE)
    finally:
        running.kill()
    assert running.returncode == 0
    assert "mine answers at http://127.0.0.1:" in stderr
    assert stderr.strip().endswith("stopped")
    assert "Traceback" not in stderr


def test_an_address_that_is_taken_is_told_before_anything_is_loaded(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--checkpoint", tmp_path, "--port", port)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port} can't be listened on: Address already in use" in done.stderr
    done = command("serve", "--checkpoint", tmp_path, "--port", 0, "--host", "no.such.host.invalid")
    assert "can't be listened on" in done.stderr
