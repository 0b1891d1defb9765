"""`--endpoint`: the commands answer with a model that runs elsewhere as they do with one that is loaded."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.evaluation.answers.checkpoint_model import open_checkpoint_model
from pipeline.evaluation.answers.exchange import AnswerSampling, SpokenQuestion
from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.inference.remote_answerer import ModelEndpoint, open_answerer_at
from pipeline.serving.model import Limits, ServedModel
from stages.train.backbone import load
from tests.completions import Fault, completing, logits_of
from tests.pipeline.tiny_models import SHORT
from tests.pipeline.tiny_server import serving, text_request

GREEDY = ("--temperature", 0, "--max-tokens", 30)


@pytest.fixture(scope="module")
def logits(tiny_checkpoint):
    return logits_of(load(tiny_checkpoint, "cpu"))


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """The checkpoint without its weights."""
    for name in ("config.json", "vocabulary.json"):
        (tmp_path / name).symlink_to(tiny_checkpoint / name)
    return tmp_path


def test_a_question_and_candidates_have_the_answers_of_the_local_model(
    command, tiny_checkpoint, folder, logits, tmp_path
):
    ask = ("answer", SHORT, *GREEDY, "--tokens-only", "--json")
    here = command(*ask, "--checkpoint", tiny_checkpoint)
    with completing(logits) as server:
        there = command(*ask, "--checkpoint", folder, "--endpoint", f"{server.url}#tiny")
        out = tmp_path / "rows.jsonl"
        sampled = ("--candidates", 2, "--out", out, *GREEDY)
        done = command("answer", SHORT, *sampled, "--checkpoint", folder, "--endpoint", server.url)
    assert there.code == done.code == 0, there.stderr + done.stderr
    local, remote = (json.loads(each.stdout.splitlines()[-1]) for each in (here, there))
    assert remote["ids"] == local["ids"]
    (row,) = map(json.loads, out.read_text().splitlines())
    assert [answer["text"] for answer in row["answers"]] == [local["text"]] * 2


def test_wrong_options_and_servers_are_one_message(command, folder, tmp_path):
    ask = ("answer", SHORT, "--text", "--checkpoint", folder)
    alone = command(*ask, "--endpoint-key-file", tmp_path / "key")
    assert (alone.code, "--endpoint-key-file is the key of --endpoint" in alone.stderr) == (2, True)
    refused = command(*ask, "--endpoint", "http://127.0.0.1:9/v1")
    assert refused.code == 1
    assert "127.0.0.1:9/v1/completions can't be reached" in refused.stderr


def test_serve_answers_several_at_once_and_tells_what_the_server_did(folder, logits, vocoder):
    def asked(number):
        return text_request(max_tokens=20 + number, temperature=0)

    with completing(logits) as there:
        endpoint = ModelEndpoint.of(there.url, retries=0)
        answerer = open_answerer_at(endpoint, folder)
        limits = Limits(tokens=100, seconds=10, megabytes=1)
        model = ServedModel("tiny", answerer, open_answer_vocoder(vocoder), limits, rows=3)
        with serving(model, max_queue=8) as client:
            with ThreadPoolExecutor(4) as pool:
                together = list(pool.map(lambda n: client.ask(**asked(n)), range(4)))
            assert [reply["usage"]["completion_tokens"] for reply in together] == [20, 21, 22, 23]
            there.faults = [Fault(status=500)]
            status, reply, _ = client.post(asked(0))
    assert (status, reply["error"]["code"]) == (502, "server_error")


def test_evaluate_speaks_and_does_not_take_the_folder_for_what_was_served(
    tiny_checkpoint, folder, logits, vocoder
):
    greedy = AnswerSampling(seed=1, temperature=0, max_tokens=30)
    question = SpokenQuestion(SHORT, None, "en")
    with completing(logits) as server:
        endpoint = ModelEndpoint.of(server.url)
        remote = open_checkpoint_model("tiny", folder, vocoder, endpoint)
        answer = remote.answer([], question, greedy)
    local = open_checkpoint_model("tiny", tiny_checkpoint, vocoder).answer([], question, greedy)
    assert (answer.text, answer.voices) == (local.text, local.voices)
    assert len(answer.samples) == len(local.samples)
    assert remote.about()["kind"] == "served checkpoint"
