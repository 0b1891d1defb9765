"""A model behind `/v1/completions` gives the answers that it gives here."""

import socket
import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from schemas.errors import SetupError
from schemas.layout import header
from stages.connection import ApiKey
from stages.endpoint import EndpointConfig
from stages.train.cache import Step1Reader
from stages.train.completions import CompletionServer
from stages.train.grammar import Form
from stages.train.model import Step1
from stages.train.remote_answer import RemoteError, remote_answer
from stages.train.sampling import Answer, Sampling, TextPiece, answer, answered
from stages.train.shape import Shape
from tests.completions import Fault, completing, logits_of, prepared

GREEDY = Sampling(temperature=0, max_tokens=40)
FORM = Form(ratio=(3, 5))
LITTLE = Shape(hidden=32, ffn=48, heads=4, groups=2, layers=1, context=4096)


@pytest.fixture(scope="module")
def model(vocabulary):
    torch.set_num_threads(1)
    model = Step1(LITTLE.with_vocabulary(vocabulary.size)).requires_grad_(False)
    model.initialise(seed=1)
    return model


@pytest.fixture(scope="module")
def prompt(vocabulary):
    asked = [*header("human", vocabulary), *vocabulary.encode("Who?"), vocabulary.eot]
    return np.array([*asked, *header("assistant", vocabulary)], np.int32)


@pytest.fixture(scope="module")
def local(model, prompt, vocabulary):
    def local(form=FORM, sampling=GREEDY):
        return answered(answer(Step1Reader(model), prompt, vocabulary, form, sampling))

    return local


@pytest.fixture
def remote(prompt, vocabulary):
    def remote(server, form=FORM, sampling=GREEDY, key="", **settings):
        opened = open_server(server.url, vocabulary, key, **settings)
        server.bodies.clear()
        return remote_answer(opened, prompt, vocabulary, form, sampling)

    return remote


def open_server(url, vocabulary, key="", model="", **settings):
    config = EndpointConfig(url=url, model=model, **{"retries": 2, "backoff": 0, **settings})
    return CompletionServer(config, ApiKey("$KEY", key), vocabulary.eot, vocabulary.linguistic)


def same(one, other):
    return np.array_equal(one.ids, other.ids) and (one.text, one.voices, one.reason) == (
        other.text,
        other.voices,
        other.reason,
    )


@pytest.mark.parametrize("field", ["allowed_token_ids", "logit_bias"])
@pytest.mark.parametrize("mode", ["interleaved", "text_only", "audio_only"])
def test_a_greedy_answer_is_that_of_the_local_model(model, local, remote, field, mode):
    """The model has random weights: nearly each of its ids breaks the grammar, and it never ends."""
    form = Form(mode, (3, 5))
    with completing(logits_of(model), holds=(field,)) as server:
        assert same(answered(remote(server, form)), local(form))


def test_the_repetition_rule_is_kept_too(model, local, remote):
    rule = Sampling(temperature=0, max_tokens=40, repetition_rule=True)
    with completing(logits_of(model)) as server:
        assert same(answered(remote(server, sampling=rule)), local(sampling=rule))


def test_drawn_answers_follow_the_grammar_and_their_seed(model, remote):
    with completing(logits_of(model)) as server:
        once, again, other = (
            answered(remote(server, sampling=Sampling(max_tokens=30, seed=seed))) for seed in (1, 1, 2)
        )
    assert same(once, again)
    assert not np.array_equal(once.ids, other.ids)


@pytest.mark.parametrize("leaves_out_end", [False, True])
def test_a_model_that_knows_the_layout_needs_one_request(local, remote, prompt, vocabulary, leaves_out_end):
    said = local()
    script = prepared(len(prompt), said.ids.tolist(), vocabulary.size)
    long = Sampling(temperature=0, max_tokens=400)
    with completing(script, leaves_out_end=leaves_out_end) as server:
        heard = answered(remote(server, sampling=long))
        [body] = server.bodies
    assert np.array_equal(heard.ids, said.ids)
    assert heard.reason == "end"
    assert body["prompt"] == prompt.tolist()
    assert body["stop_token_ids"] == [vocabulary.eot]


def test_what_is_there_is_passed_on_before_the_rest_is_written(local, remote, prompt, vocabulary):
    script = prepared(len(prompt), local().ids.tolist(), vocabulary.size)
    with completing(script) as server:
        events = remote(server, sampling=Sampling(temperature=0, max_tokens=400))
        server.gate, server.before_gate = threading.Event(), 2
        assert isinstance(next(events), TextPiece)
        server.gate.set()
        *_, last = events
    assert isinstance(last, Answer)


def test_an_answer_goes_on_after_failures(model, local, remote):
    faults = [Fault(500), Fault(after=0), Fault(), Fault(429), Fault(), Fault(after=0)]
    with completing(logits_of(model)) as server:
        events = remote(server)
        server.faults = faults
        assert same(answered(events), local())
        assert not server.faults


def test_a_stream_that_breaks_off_goes_on_from_its_last_id(local, remote, prompt, vocabulary):
    said = local().ids.tolist()
    with completing(prepared(len(prompt), said, vocabulary.size)) as server:
        events = remote(server, sampling=Sampling(temperature=0, max_tokens=400))
        server.faults = [Fault(after=7)]
        assert answered(events).ids.tolist() == said
        assert server.bodies[1]["prompt"] == [*prompt.tolist(), *said[:7]]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=500), r"/v1/completions answers 500 \(3 tries\)"),
        (Fault(after=0), r"stopped in the middle of an answer \(3 tries\)"),
    ],
)
def test_a_server_that_only_fails_is_given_up(model, remote, fault, message):
    with completing(logits_of(model)) as server:
        events = remote(server)
        server.faults = [fault] * 3
        with pytest.raises(RemoteError, match=message):
            answered(events)


def test_a_server_that_cannot_be_held_is_checked(model, remote, prompt, vocabulary):
    said = [*vocabulary.encode("So").tolist(), vocabulary.audio_end]
    script = prepared(len(prompt), said, vocabulary.size)
    position = len(said) - 1
    message = rf"token {vocabulary.audio_end} \(<audio_end>\) may not follow at position {position} of"
    with completing(script, holds=()) as server, pytest.raises(RemoteError, match=message):
        answered(remote(server))


def test_the_key_is_sent_and_never_shown(model, vocabulary):
    with completing(logits_of(model), key="secret") as server:
        assert open_server(server.url, vocabulary, "secret").model == "tiny"
        with pytest.raises(SetupError, match=r"rejected the API key in \$KEY \(status 401\)") as wrong:
            open_server(server.url, vocabulary, "my-other-key")
        with pytest.raises(SetupError, match=r"requires an API key: set \$KEY"):
            open_server(server.url, vocabulary)
    assert "my-other-key" not in str(wrong.value)


def test_what_is_wrong_is_told_when_it_is_opened(model, vocabulary):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with pytest.raises(SetupError, match="can't be reached"):
        open_server(f"http://127.0.0.1:{port}/v1", vocabulary)
    with completing(logits_of(model)) as server:
        with pytest.raises(SetupError, match="returned status 404"):
            open_server(server.url.removesuffix("/v1"), vocabulary)
        with pytest.raises(SetupError, match="serves tiny, not large"):
            open_server(server.url, vocabulary, model="large")
        server.returns_ids = False
        with pytest.raises(SetupError, match="returns no token ids: serve the model with a vLLM or SGLang"):
            open_server(server.url, vocabulary)
