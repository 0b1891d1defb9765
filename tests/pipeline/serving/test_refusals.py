"""What is wrong with a request is said with its place."""

import pytest

from pipeline.serving.model import Limits, ServedModel
from tests.paths import RECORDINGS
from tests.pipeline.tiny_models import QUESTION, SHORT
from tests.pipeline.tiny_server import HELLO, LONG, audio_request, question, serving, text_request

URL = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
LOST = {"role": "assistant", "audio": {"id": "audio_of_yesterday"}}


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        ({}, 400, "messages", "required"),
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": [HELLO] * 257}, 400, "messages", "at most 256"),
        (text_request(messages=[{"role": "user", "content": ""}]), 400, "messages[0]", "is empty"),
        (text_request(messages=[{"role": "tool", "content": "x"}]), 400, "messages[0].role", "'user'"),
        (
            text_request(messages=[{"role": "user", "content": [URL]}]),
            400,
            "messages[0].content[0].type",
            "input_audio",
        ),
        (
            text_request(messages=[HELLO, {"role": "assistant", "content": "x"}]),
            400,
            None,
            "the last of `messages`",
        ),
        (
            text_request(messages=[HELLO, {"role": "system", "content": "x"}, HELLO]),
            400,
            None,
            "only the first",
        ),
        (text_request(messages=[HELLO, LOST, HELLO]), 400, "messages[1].audio.id", "send its text"),
        (text_request(messages=[{**LOST, "role": "user"}]), 400, "messages[0]", "an earlier answer"),
        (text_request(modalities=["audio"]), 400, None, '["text", "audio"]'),
        (text_request(modalities=["text", "video"]), 400, "modalities[1]", "'audio'"),
        (text_request(audio={"format": "wav"}), 400, None, "requires"),
        (text_request(modalities=["text", "audio"], audio={"format": "mp3"}), 400, "audio.format", "'pcm16'"),
        (
            text_request(modalities=["text", "audio"], audio={"format": "wav"}, stream=True),
            400,
            None,
            "must be pcm16",
        ),
        (text_request(temperature=-1), 400, "temperature", "greater than or equal to 0"),
        (text_request(top_p=0), 400, "top_p", "greater than 0"),
        (text_request(max_tokens=LONG + 1), 400, "max_completion_tokens", "at most 4,000 tokens"),
        (text_request(n=2), 400, "n", "1"),
        (text_request(tools=[{"type": "function"}]), 400, "tools", "tools is not supported"),
        (text_request(response_format={"type": "json_object"}), 400, "response_format", "not supported"),
        (text_request(temprature=None), 400, "temprature", "not supported"),
        (text_request(model="gpt-4o-audio-preview"), 404, "model", "this server's model is tiny"),
        (audio_request("/etc/passwd!"), 400, "messages[0].content[0].input_audio.data", "not valid base64"),
        (
            audio_request("data:audio/wav,hello"),
            400,
            "messages[0].content[0].input_audio.data",
            "not valid base64",
        ),
        (audio_request("file"), 400, "messages[0].content[0].input_audio.data", "not audio"),
        (audio_request(""), 400, "messages[0].content[0].input_audio.data", "empty"),
        (
            {"messages": [HELLO] * 3 + [question(SHORT, *[QUESTION] * 3)]},
            400,
            "messages[3].content[3]",
            "12 s",
        ),
    ],
)
def test_an_invalid_request_is_refused_with_its_json_path(client, body, status, param, message):
    actual, reply, _ = client.post(body)
    error = reply["error"]
    assert actual == status
    assert message in error["message"]
    assert (error["param"] or "").startswith(param or "")
    assert (error["param"] is None) == (param is None)
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "name", ["text.mp3", "header_only.wav", "zero_bytes.wav", "no_moov.m4a", "short_30ms.wav"]
)
def test_broken_audio_is_a_client_error(client, name):
    status, reply, _ = client.post({"messages": [question(RECORDINGS / "bad" / name)]})
    assert status == 400
    assert reply["error"]["param"] == "messages[0].content[0].input_audio.data"
    assert "/" not in reply["error"]["message"]  # no path on the server


def test_a_body_that_is_not_json_or_too_large(client):
    assert client.post(raw="{")[0] == 400
    assert client.post(raw="{}", kind="text/plain")[0] == 415
    status, reply, _ = client.post(raw=" " * 1_000_001)
    assert (status, reply["error"]["code"]) == (413, "request_too_large")
    status, reply, _ = client.post(text_request(), path="/v1/completions")
    assert (status, reply["error"]["type"]) == (404, "not_found_error")


def test_a_question_that_leaves_no_room_for_an_answer(answerer, answer_vocoder):
    messages = [{"role": "user", "content": "word " * answerer.model.shape.context}]
    with serving(ServedModel("tiny", answerer, answer_vocoder, Limits(10, 10, 1))) as client:
        status, reply, _ = client.post({"messages": messages})
    assert (status, reply["error"]["code"]) == (400, "context_length_exceeded")
