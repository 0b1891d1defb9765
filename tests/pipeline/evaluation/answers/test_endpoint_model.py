"""Servers as models: OpenAI's chat completions with audio, over real sockets."""

import base64
import io
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import soundfile

from pipeline.evaluation.answers.endpoint_model import EndpointModel, endpoint_config
from pipeline.evaluation.answers.exchange import AnsweredQuestion, AnswerSampling, SpokenQuestion
from pipeline.inference.wav import pcm16, wav
from pipeline.storage.store import Store
from schemas.errors import DataError, SetupError
from stages.replies import Replies
from tests.pipeline.tiny_models import QUESTION
from tests.served import Answer, serving

TONE = np.sin(np.arange(2400) / 10).astype(np.float32)
ASKED = SpokenQuestion(QUESTION, "What is it?", "en")
SAMPLING = AnswerSampling(seed=3, temperature=0.5, max_tokens=50)


def chunk(delta, finish=None):
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': finish}]})}\n\n"


def streamed(*texts, finish="stop"):
    data = base64.b64encode(pcm16(TONE)).decode()
    parts = [chunk({"audio": {"id": "audio_1", "transcript": text}}) for text in texts]
    parts += [chunk({"audio": {"data": data}}), *([chunk({}, finish)] if finish else []), "data: [DONE]\n\n"]
    return Answer(body="".join(parts).encode())


@pytest.fixture
def model(tmp_path):
    def open_model(url):
        config = endpoint_config(f"{url}#m", retries=0, backoff=0.0)
        return EndpointModel("m", config, Replies(Store(str(tmp_path)), "replies"))

    return open_model


def test_an_answer_is_streamed_with_its_text_and_speech_and_timed(model):
    with serving([streamed("It is ", "a horse.")]) as server:
        answer = model(server.url).answer([], ASKED, SAMPLING)
    assert (answer.text, answer.rate, answer.reason) == ("It is a horse.", 24_000, "end")
    assert np.allclose(answer.samples, TONE, atol=1e-3)
    latency = answer.latency
    assert 0 <= latency["first_text"] <= latency["first_sound"] <= latency["total"] < 10
    [body] = server.bodies
    assert {name: body[name] for name in ("model", "seed", "temperature", "max_completion_tokens")} == {
        "model": "m",
        "seed": 3,
        "temperature": 0.5,
        "max_completion_tokens": 50,
    }
    [part] = body["messages"][0]["content"]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(part["input_audio"]["data"])))
    assert rate == 16_000
    assert len(samples) > 16_000


def test_the_models_own_answers_are_the_history(model):
    with serving([streamed("A horse."), streamed("Brown.")]) as server:
        asked = model(server.url)
        first = asked.answer([], ASKED, SAMPLING)
        asked.answer([AnsweredQuestion(ASKED, first)], ASKED, SAMPLING)
    assert [message["role"] for message in server.bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert server.bodies[1]["messages"][1]["content"] == "A horse."


def test_an_answer_without_text_is_referred_to_by_its_id(model):
    with serving([streamed(""), streamed("Brown.")]) as server:
        asked = model(server.url)
        asked.answer([AnsweredQuestion(ASKED, asked.answer([], ASKED, SAMPLING))], ASKED, SAMPLING)
    assert server.bodies[1]["messages"][1] == {"role": "assistant", "audio": {"id": "audio_1"}}


def test_a_server_that_does_not_stream_is_asked_for_whole_answers(model):
    audio = {"data": base64.b64encode(wav(TONE, 22_050)).decode(), "transcript": "A horse.", "id": "x"}
    choice = {"message": {"content": None, "audio": audio}, "finish_reason": "length"}

    def answer(request):
        if request["body"].get("stream"):
            return Answer(400, json.dumps({"error": {"message": "stream is not supported"}}).encode())
        return Answer(body=json.dumps({"choices": [choice]}).encode())

    with serving(answer) as server:
        asked = model(server.url)
        first = asked.answer([], ASKED, SAMPLING)
        asked.answer([AnsweredQuestion(ASKED, first)], ASKED, SAMPLING)
    assert (first.text, first.rate, first.reason) == ("A horse.", 22_050, "length")
    assert first.latency["first_sound"] is None
    assert [body.get("stream") for body in server.bodies] == [True, None, None]


def test_an_answer_that_was_kept_is_not_asked_for_or_timed_again(model):
    with serving([streamed("A horse.")]) as server:
        model(server.url).answer([], ASKED, SAMPLING)
        again = model(server.url).answer([], ASKED, SAMPLING)
    assert len(server.seen) == 1
    assert (again.text, again.latency) == ("A horse.", {})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(500), "server_error"),
        (streamed("A h", finish=None), "bad_reply"),
        (Answer(body=b'data: {"error": {"message": "no memory"}}\n\n'), "bad_reply"),
        (Answer(body=b"hello"), "bad_reply"),
        (Answer(400, b'{"error": {"message": "too long"}}'), "refused"),
    ],
)
def test_a_failed_answer_is_no_answer(model, answer, code):
    with serving([answer]) as server, pytest.raises(DataError) as raised:
        model(server.url).answer([], ASKED, SAMPLING)
    assert raised.value.code == code


def test_a_server_that_names_no_model_needs_one_in_the_address():
    with pytest.raises(SetupError, match=r"name one after the address, as http://127\.0\.0\.1:9/v1#MODEL"):
        endpoint_config("http://127.0.0.1:9/v1")


class NamesItsModel(BaseHTTPRequestHandler):
    """A server that tells its model only to those with the key `k`."""

    def do_GET(self):
        has_key = self.headers["Authorization"] == "Bearer k"
        self.send_response(200 if has_key else 401)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "m"}]}' if has_key else b"{}")

    def log_message(self, *arguments):
        pass


def test_a_server_is_asked_for_its_model_with_the_api_key(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), NamesItsModel)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert endpoint_config(url).model == "m"
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SetupError, match=r"requires an API key .*: set .OPENAI_API_KEY"):
        endpoint_config(url)
    server.shutdown()
    server.server_close()
