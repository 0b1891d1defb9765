"""Folders as the public Step-Audio models have them: sharded, behind a prefix, beside image encoders."""

import json

import pytest
import torch

from schemas.errors import SetupError
from stages.train.backbone import load
from stages.train.checkpoint import checked_names, is_step1, load_into, read_shape
from stages.train.config import TrainConfig
from stages.train.loop import TrainingData
from stages.train.model import Step1
from stages.train.plan import parameters
from stages.train.public_checkpoint import public_vocabulary
from stages.train.run import Start, run
from stages.train.shape import PRESETS, Shape, public_config
from stages.train.weights import SafetensorsFolder, write_tensors

TINY = Shape(hidden=16, ffn=24, heads=4, groups=2, layers=2, vocabulary=96, context=64)
TOKENS = torch.tensor([[1, 4, 40, 95, 3]])
IMAGES = {
    "vision_model.patch_embed.weight": torch.ones(3, 3),
    "vision_model.layers.0.weight": torch.ones(3),
    "projector.weight": torch.ones(2, 2),
}

AQAA = {
    "model_type": "mmgpt_step1_v2",
    "hidden_size": 12288,
    "intermediate_size": 31232,
    "num_attention_heads": 96,
    "num_attention_groups": 8,
    "num_hidden_layers": 88,
    "max_seq_len": 32768,
    "vocab_size": 74752,
    "rms_norm_eps": 1e-5,
}


@pytest.fixture(scope="module")
def original():
    torch.set_num_threads(1)
    model = Step1(TINY)
    model.initialise(seed=3)
    return model.eval()


def folder_of(folder, model, prefix="", others=None, file_bytes=4000, **config):
    """Weights in several files, as on a model hub."""
    tensors = {prefix + name: tensor for name, tensor in model.state_dict().items()} | (others or {})
    files = write_tensors(folder, tensors, torch.float32, file_bytes)
    assert len(files) > 3
    settings = {**public_config(model.shape, "float32", {"pad": 0, "bos": 1, "eos": 2, "eot": 3}), **config}
    (folder / "config.json").write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
    return folder


def logits(model):
    with torch.no_grad():
        return model(TOKENS)


def test_a_sharded_folder_is_the_model_that_it_was_written_from(tmp_path, original):
    folder = folder_of(tmp_path, original)
    assert torch.equal(logits(load(folder, "cpu")), logits(original))


@pytest.mark.parametrize("prefix", ["", "language_model.", "model.text."])
def test_the_text_model_is_found_beside_image_encoders(tmp_path, original, prefix):
    folder = folder_of(tmp_path, original, prefix, IMAGES, architectures=None, model_type="mmgpt_step1_v2")
    assert is_step1(folder)
    assert read_shape(folder) == TINY
    assert torch.equal(logits(load(folder, "cpu")), logits(original))
    stored = checked_names(original, SafetensorsFolder(folder))
    assert set(stored.left_out) == set(IMAGES)
    assert stored.line == "left out 3 tensors beside the text model: projector 1, vision_model 2"


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.2.mlp.up_proj.weight",
        "lm_head.bias",
        "model.norm.bias",
    ],
)
def test_a_tensor_of_the_text_model_that_is_not_known_is_refused_by_name(tmp_path, original, name):
    others = {f"language_model.{name}": torch.ones(2)}
    folder = folder_of(tmp_path, original, "language_model.", others, architectures=["MMGPT"], model_type="m")
    with pytest.raises(SetupError, match=f"does not have: language_model.{name}"):
        load(folder, "cpu")


def test_a_plain_text_model_has_no_other_tensors(tmp_path, original):
    folder = folder_of(tmp_path, original, others=IMAGES)
    with pytest.raises(SetupError, match=r"does not have: projector\.weight"):
        load(folder, "cpu")


def test_a_tensor_behind_another_prefix_is_missing(tmp_path, original):
    tensors = {f"text.{name}": tensor for name, tensor in original.state_dict().items()}
    tensors["head.lm_head.weight"] = tensors.pop("text.lm_head.weight")
    write_tensors(tmp_path, tensors)
    (tmp_path / "config.json").write_text(json.dumps(public_config(TINY, "float32", {"pad": 0, "bos": 1})))
    with pytest.raises(SetupError, match="lacks"):
        load(tmp_path, "cpu")


def test_other_norms_than_the_decoders_are_refused(tmp_path, original):
    folder = folder_of(tmp_path, original, rms_norm_eps=1e-6)
    with pytest.raises(SetupError, match="rms_norm_eps is 1e-06"):
        load(folder, "cpu")


def test_the_public_sizes_are_counted_without_weights(tmp_path):
    """Step-Audio-AQAA's text model has the parameters of Step-Audio-Chat, as its model card counts them."""
    (tmp_path / "config.json").write_text(json.dumps(AQAA))
    assert read_shape(tmp_path) == PRESETS["step1-130b"]
    assert parameters(read_shape(tmp_path))[0] == 131_946_590_208
    assert parameters(PRESETS["step1-3b"])[0] == 3_529_706_496


class TestVocabulary:
    """Of a folder that has a tokenizer and no vocabulary.json."""

    @pytest.fixture
    def folder(self, tmp_path, step1_tokenizer):
        (tmp_path / "tokenizer.model").symlink_to(step1_tokenizer / "tokenizer.model")
        shape = {"hidden_size": 16, "num_attention_heads": 4, "num_attention_groups": 2, "vocab_size": 74752}
        (tmp_path / "config.json").write_text(json.dumps({**AQAA, **shape}))
        return tmp_path

    def test_it_is_the_family_s(self, folder):
        vocabulary = public_vocabulary(folder)
        assert (vocabulary.bos, vocabulary.eos, vocabulary.eot, vocabulary.bot) == (1, 2, 3, 4)
        assert vocabulary.linguistic == 65536
        assert vocabulary.describe()["options"] == {
            "chat_bos": True,
            "audio_markers": False,
            "prefix_newline": True,
            "default_system": None,
        }

    def test_the_default_system_prompt_is_the_one_of_the_chat_template(self, folder):
        template = (
            "{% if messages[0].role != 'system' %}"
            "<|BOT|>system\nYou are a helpful assistant.<|EOT|>{% endif %}"
            "{% for m in messages %}<|BOT|>{{ m.role }}\n{{ m.content }}<|EOT|>{% endfor %}"
            "{% if add_generation_prompt %}<|BOT|>assistant\n{% endif %}"
        )
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        assert public_vocabulary(folder).options.default_system == "You are a helpful assistant."
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages.x.y }}"}))
        with pytest.raises(SetupError, match="chat template"):
            public_vocabulary(folder)

    @pytest.mark.parametrize("settings", ["{bad", "[]"])
    def test_damaged_settings_of_the_tokenizer_are_named(self, folder, settings):
        (folder / "tokenizer_config.json").write_text(settings)
        with pytest.raises(SetupError, match="chat template can't be used"):
            public_vocabulary(folder)

    def test_a_checkpoint_without_a_tokenizer_has_none(self, folder):
        (folder / "tokenizer.model").unlink()
        assert public_vocabulary(folder) is None


def test_weights_are_read_into_any_copy_of_the_model(tmp_path, original):
    folder = folder_of(tmp_path, original, "language_model.", IMAGES, architectures=None)
    copy = Step1(TINY)
    load_into(copy, folder)
    assert torch.equal(logits(copy), logits(original))


def test_it_is_trained_and_saved_as_a_text_model(tmp_path, original, ids, sample_shards, opened):
    folder = tmp_path / "public"
    folder.mkdir()
    folder_of(folder, original, "language_model.", IMAGES, architectures=None)
    config = TrainConfig(sequence_length=64, global_batch_size=2, steps=2, precision="float32")
    data = TrainingData(opened(sample_shards), ids, {"version": "v"})
    finished = run(config, lambda: data, Start(checkpoint=folder), tmp_path / "run")
    trained = SafetensorsFolder(finished)
    assert trained.specs.keys() == original.state_dict().keys()
    assert not torch.equal(trained.tensor("lm_head.weight"), original.lm_head.weight)
    assert json.loads((finished / "config.json").read_text())["architectures"] == ["Step1ForCausalLM"]
