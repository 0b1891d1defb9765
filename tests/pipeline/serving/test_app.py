"""The answers of `aqaa-data serve`, from a real server on a real socket."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
import soundfile

from pipeline.inference.conversation import PromptMessage, prompt
from pipeline.inference.tokenize_files import tokenize_file
from pipeline.serving.model import PCM_RATE, Limits, ServedModel
from stages.train.vocoder.shape import RATE
from tests.paths import RECORDINGS
from tests.pipeline.tiny_models import SHORT
from tests.pipeline.tiny_server import ASK, HELLO, SPOKEN, audio_request, question, serving, text_request

FORMATS = RECORDINGS / "formats"


def wav_of(audio):
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(audio["data"])), dtype="int16")
    assert rate == RATE
    return samples.astype(int)


def pcm_of(data):
    return np.frombuffer(base64.b64decode(data), "<i2").astype(int)


def deltas(chunks):
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def test_an_answer_in_text_and_audio(client, answerer, answer_vocoder, vocabulary):
    reply = client.ask(**SPOKEN, audio={"format": "wav", "voice": "alloy"}, model="tiny")
    assert (reply["object"], reply["model"]) == ("chat.completion", "tiny")
    [choice] = reply["choices"]
    message = choice["message"]
    assert (message["role"], message["content"], choice["finish_reason"]) == ("assistant", None, "length")
    assert message["audio"]["transcript"].strip()
    assert message["audio"]["expires_at"] > time.time()
    usage = reply["usage"]
    tokenized = tokenize_file(str(SHORT), answerer.tokenizer)
    ids = prompt([PromptMessage("human", (tokenized.codes,))], vocabulary)
    assert usage["prompt_tokens"] == len(ids)
    assert usage["prompt_tokens_details"]["audio_tokens"] == len(tokenized.ids)
    assert usage["completion_tokens_details"]["audio_tokens"] >= 20
    # The same answer as without the server.
    from stages.train.sampling import Sampling

    events = list(
        answer_vocoder.speak(answerer.answer(ids, answerer.form, Sampling(seed=5, max_tokens=60 + 1)), 5)
    )
    expected = np.concatenate([event.samples for event in events if hasattr(event, "samples")])
    assert message["audio"]["transcript"] == events[-1].text
    assert np.abs(wav_of(message["audio"]) - expected * 32767).max() <= 1


def test_streamed_and_whole_answers_are_the_same(client):
    whole = client.ask(**SPOKEN, audio={"format": "pcm16", "voice": "x"})
    chunks = client.stream(**SPOKEN, stream_options={"include_usage": True})
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    first, *others = deltas(chunks)
    assert first == {"role": "assistant"}
    audio = [delta["audio"] for delta in others if delta]
    assert len({piece["id"] for piece in audio}) == 1
    whole_audio = whole["choices"][0]["message"]["audio"]
    assert "".join(piece.get("transcript", "") for piece in audio) == whole_audio["transcript"]
    pieces = [pcm_of(piece["data"]) for piece in audio if "data" in piece]
    assert len(pieces) >= 2
    streamed, at_once = np.concatenate(pieces), pcm_of(whole_audio["data"])
    assert len(streamed) == len(at_once)
    assert np.abs(streamed - at_once).max() <= 1
    groups = whole["usage"]["completion_tokens_details"]["audio_tokens"] // 5
    assert len(streamed) / PCM_RATE == pytest.approx(groups * 0.12, abs=0.02)
    assert streamed.std() > 50
    kinds = ["data" in piece for piece in audio if "data" in piece or "transcript" in piece]
    assert kinds.index(True) < len(kinds) - 1 - kinds[::-1].index(False)  # audio before the last text
    assert "expires_at" in audio[-1]
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"] == whole["usage"]


def test_text_only(client):
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
    reply = client.ask(messages=messages, max_tokens=5)
    ids = prompt(
        [PromptMessage("system", ("Be brief.",)), PromptMessage("human", ("Who is there?",))], vocabulary
    )
    assert reply["usage"]["prompt_tokens"] == len(ids)


def test_an_earlier_answer_is_given_by_its_id_or_its_text(client, vocabulary, answerer):
    earlier = client.ask(**SPOKEN)["choices"][0]["message"]["audio"]
    by_id = {"role": "assistant", "audio": {"id": earlier["id"]}}
    by_text = {"role": "assistant", "content": earlier["transcript"]}
    alone, *replies = (
        client.ask(**ASK | {"messages": [*before, question(SHORT, text="And then?")]})
        for before in ([], [question(SHORT), by_id], [question(SHORT), by_text])
    )
    contents = [answer["choices"][0]["message"]["content"] for answer in (alone, *replies)]
    assert contents[0] != contents[1] == contents[2]
    codes = tokenize_file(str(SHORT), answerer.tokenizer).codes
    expected = prompt(
        [
            PromptMessage("human", (codes,)),
            PromptMessage("assistant", (earlier["transcript"].strip(),)),
            PromptMessage("human", ("And then?", codes)),
        ],
        vocabulary,
    )
    assert replies[0]["usage"]["prompt_tokens"] == len(expected)


def test_a_message_that_the_server_sent_is_taken_back_whole(client):
    whole = client.ask(**SPOKEN)["choices"][0]["message"]
    assert whole["audio"].keys() == {"id", "data", "transcript", "expires_at"}
    of_yesterday = whole | {"audio": whole["audio"] | {"id": "audio_of_yesterday"}}
    as_text = {"role": "assistant", "content": whole["audio"]["transcript"]}
    contents = [
        client.ask(**ASK | {"messages": [question(SHORT), earlier, question(SHORT)]})["choices"][0]["message"]
        for earlier in (whole, of_yesterday, as_text)
    ]
    assert contents[0] == contents[1] == contents[2]


NEUTRAL = {
    "response_format": {"type": "text"},
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "logprobs": False,
    "logit_bias": {},
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
}


def test_fields_that_change_nothing_are_taken(client):
    expected = client.ask(**ASK)["choices"]
    assert client.ask(**ASK, **NEUTRAL)["choices"] == expected
    assert client.ask(**ASK, **dict.fromkeys(NEUTRAL), stream=None, modalities=None)["choices"] == expected
    message = ASK["messages"][0] | {
        "tool_calls": None,
        "function_call": None,
        "refusal": None,
        "annotations": [],
    }
    assert client.ask(**ASK | {"messages": [message]})["choices"] == expected


def in_lines(data):
    return "\r\n".join(data[at : at + 76] for at in range(0, len(data), 76))


def url_safe(data):
    return data.replace("+", "-").replace("/", "_").rstrip("=")


def as_uri(data):
    return f"data:audio/wav;base64,{data}"


@pytest.mark.parametrize("written", [in_lines, url_safe, as_uri])
def test_base64_is_read_however_it_is_written(client, written):
    data = base64.b64encode(SHORT.read_bytes()).decode()
    assert written(data) != data
    replies = [
        client.ask(**audio_request(own) | {"seed": 1, "max_tokens": 20}) for own in (data, written(data))
    ]
    assert replies[0]["choices"] == replies[1]["choices"]


def test_any_seed_may_be_asked_for(client):
    for seed in (0, 2**63 - 1):
        assert client.ask(**SPOKEN | {"seed": seed})["choices"][0]["message"]["audio"]["data"]


@pytest.mark.parametrize("limit", [1, 2, 7, 19, 33])
@pytest.mark.parametrize("modalities", [["text"], ["text", "audio"]])
def test_a_limit_of_tokens_is_never_passed(client, limit, modalities):
    both = {"max_tokens": limit, "max_completion_tokens": limit + 5}
    reply = client.ask(messages=[HELLO], modalities=modalities, seed=3, **both)
    assert 1 <= reply["usage"]["completion_tokens"] <= limit
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("limit", [1, 5])
def test_a_limit_of_tokens_is_of_what_the_client_gets(client, limit):
    reply = client.ask(messages=[HELLO], max_tokens=limit, seed=3)
    assert reply["choices"][0]["message"]["content"]
    assert reply["usage"]["completion_tokens"] == limit


@pytest.mark.parametrize(
    "name", ["2414-128291-0005_64k.mp3", "2414-128291-0005.m4a", "2414-128291-0005.webm"]
)
def test_the_format_of_audio_is_detected_from_its_content(client, name):
    reply = client.ask(messages=[question(FORMATS / name)], max_tokens=2)
    assert reply["usage"]["prompt_tokens_details"]["audio_tokens"] > 20


def test_health_and_models(client):
    assert client.health() == {"status": "ok", "model": "tiny", "busy": False, "waiting": 0}
    [model] = json.loads(client.get("/v1/models")[1])["data"]
    assert (model["id"], model["object"], model["voices"]) == ("tiny", "model", ["default"])
    assert client.get("/docs")[0] == 404


def test_the_log_has_latencies_but_no_content(client, caplog, answerer, answer_vocoder):
    class Broken(ServedModel):
        def answer(self, request, id):
            raise ValueError(f"can't answer {request.messages}")

    caplog.set_level("DEBUG")
    secret = "hunter2"
    reply = client.ask(messages=[{"role": "user", "content": secret}], max_tokens=20)
    client.post(text_request(messages=[{"role": "user", "content": secret, secret: 1}]))
    with serving(Broken("broken", answerer, answer_vocoder, Limits(10, 10, 1))) as broken:
        status, error, _ = broken.post(text_request(messages=[{"role": "user", "content": secret}]))
    assert (status, error["error"]["type"]) == (500, "server_error")
    assert re.search(r"0\.0 s of audio answered in \d+ tokens; first text", caplog.text)
    assert "an answer failed: ValueError" in caplog.text
    assert "test_app.py" in caplog.text
    assert secret not in caplog.text
    assert reply["choices"][0]["message"]["content"].strip() not in caplog.text
