"""transformers opens a saved Step-1 folder by itself, with our logits, our chats and our ids."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from schemas.errors import SetupError
from schemas.vocabulary import LayoutOptions, Vocabulary
from stages.train.cache import Step1Reader
from stages.train.checkpoint import save
from stages.train.exported_tokenizer import write_tokenizer
from stages.train.model import Step1
from stages.train.shape import Shape

SHAPE = Shape(hidden=24, ffn=40, heads=6, groups=2, layers=3, vocabulary=128, context=256)
TOKENS = torch.tensor([[1, 4, 40, 95, 33, 120, 7, 7, 64, 3, 90]])


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    model = Step1(SHAPE)
    model.initialise(seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that attention is far from uniform
    return model.eval()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    save(model, folder)
    return folder


@pytest.fixture(params=["eager", "sdpa"])
def theirs(request, folder, tmp_path, monkeypatch):
    """The model as transformers opens it, with nothing of this project but the files in the folder."""
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    opened = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, dtype=torch.float32, attn_implementation=request.param
    )
    assert opened.config._attn_implementation == request.param
    return opened.eval()


@torch.no_grad()
def test_its_logits_are_ours(model, theirs):
    assert torch.allclose(theirs(TOKENS).logits, model(TOKENS), atol=1e-5)


@torch.no_grad()
def test_padding_on_the_left_changes_nothing(model, theirs):
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), TOKENS], dim=1)
    mask = (torch.arange(padded.shape[1]) >= 4).long()[None]
    logits = theirs(padded, attention_mask=mask).logits[:, 4:]
    assert torch.allclose(logits, model(TOKENS), atol=1e-5)


def test_it_generates_what_our_reader_would(model, theirs):
    reader, expected = Step1Reader(model), []
    logits = reader.read(TOKENS[0].tolist())
    for _ in range(12):
        expected.append(int(logits.argmax()))
        logits = reader.read(expected[-1:])
    out = theirs.generate(TOKENS, do_sample=False, max_new_tokens=12, eos_token_id=None)
    assert out[0, TOKENS.shape[1] :].tolist() == expected


def test_the_code_beside_the_weights_needs_nothing_of_this_project(folder):
    code = [file.read_text() for file in sorted(folder.glob("*.py"))]
    assert len(code) == 2
    assert not any("stages" in line for text in code for line in text.splitlines() if "import" in line)


def test_answers_are_drawn_as_in_the_public_models(folder):
    settings = json.loads((folder / "generation_config.json").read_text())
    assert (settings["temperature"], settings["top_p"]) == (0.7, 0.9)
    config = json.loads((folder / "config.json").read_text())
    assert settings["eos_token_id"] == config["eos_token_id"] == [2, 3]


def test_a_chat_has_the_ids_of_the_public_models(step1_tokenizer, tmp_path):
    """Written down by hand; see `tests/stages/interleave/test_step1_layout.py`."""
    from transformers import AutoTokenizer

    options = LayoutOptions(True, False, True, "the inn")
    write_tokenizer(Vocabulary.of("step1", step1_tokenizer, options), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "and so"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    system = [4, 40988, 15222, 15, 26262, 37310, 3]
    human = [4, 6540, 6448, 6997, 15, 19996, 26259, 3]
    assert ids == [1, *system, *human, 4, 6577, 19754, 6574, 20370, 15]
    assert tokenizer.convert_tokens_to_ids(["<audio_0>", "<audio_5119>", "<|EOT|>"]) == [65536, 70655, 3]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 3)


def test_other_vocabularies_have_their_markers_too(vocabulary, tmp_path):
    from transformers import AutoTokenizer

    write_tokenizer(vocabulary, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "Words, 语音 é"
    ids = tokenizer.apply_chat_template([{"role": "human", "content": text}], return_dict=False)
    assert ids == [50260, *vocabulary.encode("human\n"), *vocabulary.encode(text), 50261]
    assert tokenizer.convert_tokens_to_ids("<audio_0>") == 50264


def test_ids_that_leave_gaps_are_refused(vocabulary, tmp_path):
    apart = replace(vocabulary, linguistic=vocabulary.linguistic + 7)
    with pytest.raises(SetupError, match="leave gaps"):
        write_tokenizer(apart, tmp_path)
    assert not list(tmp_path.iterdir())
