"""`aqaa-data answer --checkpoint PUBLIC`: a folder of the Step-Audio family, which has no vocabulary.json."""

import json

import pytest
import torch

from pipeline.inference.answerer import open_answerer
from pipeline.inference.conversation import PromptMessage, prompt
from stages.train.weights import SafetensorsFolder, write_tensors
from tests.pipeline.tiny_models import QUESTION, SPEECH, write_public


@pytest.fixture(scope="module")
def public(tmp_path_factory, step1_tokenizer):
    return write_public(tmp_path_factory.mktemp("public") / "chat", step1_tokenizer)


def test_it_answers_in_text_and_bare_codes(command, public):
    ask = ("answer", "--checkpoint", public, "--tokenizer", SPEECH, "--tokens-only", QUESTION)
    done = command(*ask, "--json", "--max-tokens", 40, "--repetition-rule")
    assert done.code == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["ids"][-1] == 3
    assert last["text"]
    assert len(last["voices"]) == 1
    codes = [id for id in last["ids"][:-1] if id >= 65536]
    assert len(codes) % 5 == 0
    assert max(codes) < 65536 + 5120


def test_the_prompt_is_the_family_s(public):
    """By hand: BOS, BOT human, "and so", EOT, BOT assistant."""
    vocabulary = open_answerer(public, SPEECH).vocabulary
    ids = prompt([PromptMessage("human", ("and so",))], vocabulary).tolist()
    assert ids == [1, 4, 6540, 6448, 6997, 15, 19996, 26259, 3, 4, 6577, 19754, 6574, 20370, 15]


def test_image_encoders_beside_the_text_model_are_counted(command, public, tmp_path):
    (tmp_path / "tokenizer.model").symlink_to(public / "tokenizer.model")
    config = json.loads((public / "config.json").read_text())
    del config["architectures"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "mmgpt_step1_v2"}))
    stored = SafetensorsFolder(public)
    tensors = {f"language_model.{name}": stored.tensor(name) for name in stored.specs}
    write_tensors(tmp_path, tensors | {"vision_model.weight": torch.ones(2), "sam.weight": torch.ones(2)})
    ask = ("answer", "--tokenizer", SPEECH, "--tokens-only", QUESTION, "--max-tokens", 20, "--checkpoint")
    done = command(*ask, tmp_path)
    assert "left out 2 tensors beside the text model: sam 1, vision_model 1" in done.stderr
    assert done.stdout == command(*ask, public).stdout


def test_what_is_not_on_this_machine_is_named(command, public, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.models.CACHE", tmp_path)
    done = command("answer", "--checkpoint", public, "--tokens-only", QUESTION)
    assert done.code == 1
    assert "aqaa-data models pull" in done.stderr
    assert "Step-Audio-Tokenizer" in done.stderr
    done = command("answer", "--checkpoint", "step-audio-chat", "--tokens-only", QUESTION)
    assert done.code == 1
    assert "aqaa-data models pull hub:stepfun-ai/Step-Audio-Chat" in done.stderr
