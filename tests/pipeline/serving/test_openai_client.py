"""The server with OpenAI's own Python client."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from pipeline.serving.api_keys import ApiKeys
from pipeline.serving.model import PCM_RATE, Limits, ServedModel
from tests.pipeline.tiny_models import SHORT
from tests.pipeline.tiny_server import serving

openai = pytest.importorskip("openai")

KEY = "anna-1"
SPEAKS = {"model": "tiny", "modalities": ["text", "audio"], "max_completion_tokens": 60}
ALOUD = {
    "role": "user",
    "content": [
        {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(SHORT.read_bytes()).decode(), "format": "wav"},
        }
    ],
}
HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture(scope="module")
def server(answerer, answer_vocoder):
    model = ServedModel("tiny", answerer, answer_vocoder, Limits(4000, 12, 4), rows=4)
    with serving(model, max_queue=8, keys=ApiKeys((KEY,))) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with opened(server) as client:
        yield client


def opened(server, key=KEY, **how):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=key, **how)


def spoken(client, messages, **more):
    audio = {"format": "wav", "voice": "alloy"}
    return client.chat.completions.create(messages=messages, audio=audio, seed=5, **SPEAKS | more)


def test_text(client):
    [model] = client.models.list().data
    reply = client.chat.completions.create(model=model.id, messages=[HELLO], max_tokens=20, seed=1)
    assert reply.choices[0].message.content.strip()
    assert reply.usage.completion_tokens <= 20


def test_speech(client):
    message = spoken(client, [ALOUD]).choices[0].message
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(message.audio.data)))
    assert message.audio.transcript.strip()
    assert len(samples) / rate > 0.3
    assert np.abs(samples).max() > 0


def test_a_stream_to_its_end(client):
    whole = client.chat.completions.create(
        messages=[ALOUD], audio={"format": "pcm16", "voice": "alloy"}, seed=5, **SPEAKS
    )
    stream = client.chat.completions.create(
        messages=[ALOUD],
        audio={"format": "pcm16", "voice": "alloy"},
        seed=5,
        stream=True,
        stream_options={"include_usage": True},
        **SPEAKS,
    )
    text, sound, ends, usage = "", b"", [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            if (audio := choice.delta.audio) is not None:
                text += audio.transcript or ""
                sound += base64.b64decode(audio.data or "")
            ends += [choice.finish_reason] if choice.finish_reason else []
    assert text == whole.choices[0].message.audio.transcript
    assert len(sound) == len(base64.b64decode(whole.choices[0].message.audio.data)) > 0.3 * 2 * PCM_RATE
    assert (ends, usage) == (["length"], whole.usage)


def test_several_turns_by_id_and_with_the_message_itself(client):
    """The message object as the client has it, all its fields included, is the same as its id."""
    first = spoken(client, [ALOUD]).choices[0].message
    by_id = {"role": "assistant", "audio": {"id": first.audio.id}}
    second = [spoken(client, [ALOUD, earlier, ALOUD]) for earlier in (by_id, first, first.model_dump())]
    texts = [reply.choices[0].message.audio.transcript for reply in second]
    assert texts[0] == texts[1] == texts[2]
    assert len({reply.usage.prompt_tokens for reply in second}) == 1
    third = spoken(client, [ALOUD, first, ALOUD, second[0].choices[0].message, HELLO])
    assert third.usage.prompt_tokens > second[0].usage.prompt_tokens


def test_eight_at_once(client):
    alone = [spoken(client, [HELLO], max_completion_tokens=40 + n) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda n: spoken(client, [HELLO], max_completion_tokens=40 + n), range(8)))
    for one, other in zip(alone, together, strict=True):
        assert one.usage == other.usage
        assert one.choices[0].message.audio.transcript == other.choices[0].message.audio.transcript


def test_a_client_that_leaves_a_stream(client, server):
    stream = client.chat.completions.create(
        messages=[HELLO], stream=True, **SPEAKS | {"max_completion_tokens": 4000}
    )
    next(iter(stream))
    server.until(busy=True)
    stream.close()
    server.until(busy=False)


def test_a_client_that_waits_no_longer(server):
    with opened(server, timeout=0.5, max_retries=0) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(messages=[HELLO], **SPEAKS | {"max_completion_tokens": 4000})
    server.until(busy=False)


def test_errors_are_those_that_the_client_knows(client, server):
    with opened(server, "ben-2") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.NotFoundError, match="this server's model is tiny"):
        client.chat.completions.create(model="other", messages=[HELLO])
    with pytest.raises(openai.BadRequestError, match="tools is not supported"):
        client.chat.completions.create(
            model="tiny", messages=[HELLO], tools=[{"type": "function", "function": {"name": "f"}}]
        )


def test_every_field_that_the_client_knows_may_be_null(client):
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Fields

    nulls = dict.fromkeys(Fields.__annotations__)
    reply = client.chat.completions.create(
        model="tiny", messages=[HELLO], extra_body=nulls | {"max_tokens": 5, "messages": [HELLO]}
    )
    assert len(nulls) > 30
    assert reply.choices
