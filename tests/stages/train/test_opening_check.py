"""Types of models: those that train right have their library's logits, others are refused with a reason."""

import json

import pytest
import torch

from schemas.errors import SetupError
from stages.train import backbone
from stages.train.backbone import HuggingFace, extend
from stages.train.config import DPOConfig, TrainConfig
from stages.train.loop import TrainingData
from stages.train.metrics import read_metrics
from stages.train.opening_check import _first_layers, check_backbone
from stages.train.run import Start, run
from stages.train.weights import SafetensorsFolder
from tests.stages.train.foreign_models import KINDS, REFUSED, theirs, tokenizer_of, write_model

TOKENS = torch.tensor([[5, 9, 2, 270, 33, 8, 121, 64, 7, 19, 4, 77, 250]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Kind -> the folder of a model and that of the model extended, both made once."""
    torch.set_num_threads(1)
    made = {}

    def of(kind):
        if kind not in made:
            source, extended = tmp_path_factory.mktemp(kind), tmp_path_factory.mktemp(f"{kind}-extended")
            write_model(kind, source, tokenizer_of(source))
            extend(source, extended)
            made[kind] = source, extended
        return made[kind]

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_its_logits_equal_those_of_its_library_before_and_after(folders, kind):
    source, extended = folders(kind)
    model = backbone.load(extended, "cpu")
    with torch.no_grad():
        result = model.ends[1](model.states(TOKENS, torch.zeros_like(TOKENS)))
        before, after = theirs(source)(TOKENS).logits, theirs(extended)(TOKENS).logits
    assert torch.allclose(result, after, atol=1e-5)
    assert torch.allclose(after[..., : before.shape[-1]], before, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in REFUSED])
def test_its_documents_do_not_see_each_other(folders, kind):
    _, extended = folders(kind)
    assert check_backbone(extended) is False  # and none of them has a table of positions


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_passes_a_state_on_is_refused(folders, kind):
    with pytest.raises(SetupError, match=f"see each other in {kind}"):
        check_backbone(folders(kind)[1])


def test_routes_with_noise_are_refused(folders, tmp_path):
    for file in folders("mixtral")[1].iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((tmp_path / "config.json").read_text()) | {"router_jitter_noise": 0.5}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match="draws something in training"):
        check_backbone(tmp_path)


def test_only_layers_up_to_the_last_new_kind_are_tried(tmp_path):
    folder = write_model("qwen2", tmp_path, tokenizer_of(tmp_path), num_hidden_layers=6)
    assert len(_first_layers(folder).layers) == 1


def test_a_buffer_that_nothing_fills_is_refused(folders, monkeypatch):
    _, extended = folders("llama")
    monkeypatch.setattr("transformers.PreTrainedModel._init_weights", lambda self, module: None)
    with torch.device("meta"):
        model = HuggingFace(extended)
    with pytest.raises(SetupError, match=r"rotary_emb\.inv_freq is in no checkpoint"):
        model.to_empty(device="cpu")


def test_buffers_stay_in_float32_whatever_the_weights_are(folders):
    _, extended = folders("llama")
    buffers = dict(backbone.load(extended, "cpu", torch.bfloat16).named_buffers())
    expected = dict(theirs(extended).named_buffers())
    assert all(torch.equal(buffers[name], expected[name]) for name in expected)


def test_experts_are_joined_as_the_library_joins_them(folders):
    source, extended = folders("mixtral")
    stored = SafetensorsFolder(source)
    joined = SafetensorsFolder(extended).tensor("model.layers.0.mlp.experts.down_proj")
    names = [name for name in sorted(stored.specs) if "layers.0" in name and name.endswith("w2.weight")]
    assert len(names) == len(joined) == 4
    for expert, name in zip(joined, names, strict=True):
        assert torch.equal(expert, stored.tensor(name))


class TestDropout:
    """`attention_dropout` of this model is 0.2, so without this project's care its training would draw."""

    @pytest.fixture
    def extended(self, folders):
        return folders("llama")[1]

    def test_dpo_begins_at_a_margin_of_0(self, extended, ids, narrow_pair_shards, opened, tmp_path):
        config = TrainConfig(
            objective="dpo",
            sequence_length=128,
            global_batch_size=2,
            steps=1,
            precision="float32",
            preference=DPOConfig(beta=1),
        )
        data = TrainingData(opened(narrow_pair_shards), ids, {"version": "v"})
        run(config, lambda: data, Start(checkpoint=extended), tmp_path / "run")
        (first,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
        assert first["dpo"]["margin"] == pytest.approx(0, abs=1e-4)

    def test_a_stopped_run_resumes_bit_for_bit(self, extended, ids, sample_shards, opened, tmp_path):
        config = TrainConfig(
            sequence_length=64, global_batch_size=2, steps=4, precision="float32", checkpoint_every=2
        )
        data = TrainingData(opened(sample_shards), ids, {"version": "v"})

        def stop(metrics):
            if metrics["step"] == 2:
                raise KeyboardInterrupt

        def train(name, on_progress):
            return run(config, lambda: data, Start(checkpoint=extended), tmp_path / name, on_progress)

        whole = SafetensorsFolder(train("whole", lambda metrics: None))
        with pytest.raises(KeyboardInterrupt):
            train("stopped", stop)
        stopped = SafetensorsFolder(train("stopped", lambda metrics: None))
        assert all(torch.equal(whole.tensor(name), stopped.tensor(name)) for name in whole.specs)
