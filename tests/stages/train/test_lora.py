"""Adapters: what is trained, what is kept, and what is exported."""

import json

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint import FileSystemReader

from schemas.errors import SetupError
from stages.train import lora
from stages.train.backbone import HuggingFace, extend
from stages.train.backbone import load as load_any
from stages.train.checkpoint import load, save
from stages.train.config import LoRAConfig
from stages.train.loop import TrainingData
from stages.train.run import Start, run
from stages.train.weights import SafetensorsFolder, write_tensors
from tests.pipeline.training.chains import language_model
from tests.stages.train import narrow
from tests.stages.train.narrow import losses, model

LORA = LoRAConfig(rank=4, alpha=8)
RATES = {"learning_rate": 1e-2, "final_learning_rate": 1e-3}
SFT = narrow.SFT.model_copy(update={"lora": LORA, **RATES})
DPO = narrow.DPO.model_copy(update={"lora": LORA, **RATES})
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture
def start(tmp_path):
    save(model(), tmp_path / "start")
    return tmp_path / "start"


def train(config, data, start, folder, on_progress=lambda metrics: None):
    return run(config, lambda: data, Start(checkpoint=start), folder, on_progress)


def tensors_of(folder):
    weights = SafetensorsFolder(folder)
    return {name: weights.tensor(name) for name in weights.specs}


def stop_after(step):
    def on_progress(metrics):
        if metrics["step"] == step:
            raise KeyboardInterrupt

    return on_progress


TOKENS = torch.arange(3, 60)[None]


def test_an_adapted_model_begins_as_its_base(ids):
    base, adapted = model(), model()
    lora.adapt(adapted, LORA.model_copy(update={"added_tokens": True}), ids)
    lora.initialise(adapted, seed=0)
    assert torch.equal(adapted(TOKENS), base(TOKENS))


def test_a_projection_adds_alpha_by_rank_times_b_times_a():
    linear = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
        adapted = lora.AdaptedLinear(linear, LoRAConfig(rank=1, alpha=3))
        adapted.lora_a.copy_(torch.tensor([[1.0, 1, 1]]))
        adapted.lora_b.copy_(torch.tensor([[2.0], [-1]]))
        # Of [1, 2, 3]: W x = [1, 2], A x = 6, 3 B A x = [36, -18].
        assert adapted(torch.tensor([1.0, 2, 3])).tolist() == [37, -16]


def test_what_is_exported_has_the_logits_of_the_adapted_model(ids, tmp_path):
    adapted = model()
    lora.adapt(adapted, LORA.model_copy(update={"added_tokens": True}), ids)
    torch.manual_seed(0)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    save(adapted, tmp_path / "merged")
    merged = load(tmp_path / "merged")
    assert merged.state_dict().keys() == model().state_dict().keys()
    documents = torch.zeros_like(TOKENS)
    arguments = TOKENS, documents, torch.arange(56), TOKENS[0, 1:]
    assert adapted.losses(*arguments).tolist() == pytest.approx(merged.losses(*arguments).tolist(), abs=1e-5)
    assert (merged(TOKENS) - model()(TOKENS)).abs().max() > 0.1


def test_only_adapters_are_trained_and_kept(data, start, tmp_path):
    trained = tensors_of(train(SFT, data, start, tmp_path / "run"))
    before = tensors_of(start)
    changed = {name for name in before if not torch.equal(before[name], trained[name])}
    assert {name.split(".")[-2] for name in changed} == set(PROJECTIONS)
    assert len(changed) == 2 * len(PROJECTIONS)
    lines = losses(tmp_path / "run")
    assert lines[-1]["loss"] < lines[0]["loss"]
    (snapshot,) = (tmp_path / "run" / "checkpoints").iterdir()
    kept = FileSystemReader(snapshot).read_metadata().state_dict_metadata
    assert {name.rpartition(".")[2] for name in kept if name.startswith("model.")} == {"lora_a", "lora_b"}


def test_adapters_are_of_the_targets(data, start, tmp_path):
    only = SFT.model_copy(update={"lora": LoRAConfig(targets=("q_proj", "v_proj")), "steps": 1})
    trained, before = tensors_of(train(only, data, start, tmp_path / "run")), tensors_of(start)
    changed = {name for name in before if not torch.equal(before[name], trained[name])}
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "v_proj"}


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("config", [SFT, DPO], ids=["sft", "dpo"])
def test_a_stopped_run_resumes_with_the_same_losses_bit_for_bit(config, step, data, paired, start, tmp_path):
    data = data if config is SFT else paired
    whole = tensors_of(train(config, data, start, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train(config, data, start, tmp_path / "stopped", stop_after(step))
    stopped = tensors_of(train(config, data, start, tmp_path / "stopped"))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_dpo_compares_with_the_model_without_adapters(paired, start, tmp_path):
    train(DPO, paired, start, tmp_path / "run")
    lines = losses(tmp_path / "run")
    assert lines[0]["dpo"]["margin"] == 0
    assert lines[-1]["dpo"]["margin"] > 0.1


def test_frozen_weights_keep_their_precision(data, tmp_path):
    save(model(), tmp_path / "start", dtype=torch.bfloat16)
    dtypes = set()

    def look(module, _):
        if isinstance(module, lora.AdaptedLinear):
            dtypes.update((name, each.dtype) for name, each in module.named_parameters(recurse=False))

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        config = SFT.model_copy(update={"precision": "bfloat16", "steps": 1})
        trained = tensors_of(train(config, data, tmp_path / "start", tmp_path / "run"))
    finally:
        handle.remove()
    assert {dtype for _, dtype in dtypes} == {torch.bfloat16}, "of the computation"
    before = tensors_of(tmp_path / "start")
    for name, tensor in trained.items():
        assert tensor.dtype == torch.float32
        moved = (tensor - before[name].float()).abs().max()
        assert (moved > 0) == (name.split(".")[-2] in PROJECTIONS)


def test_a_bfloat16_base_is_computed_in_float32_where_the_settings_say_so(data, tmp_path):
    save(model(), tmp_path / "start", dtype=torch.bfloat16)
    save(load(tmp_path / "start"), tmp_path / "same")
    train(SFT, data, tmp_path / "start", tmp_path / "run")
    train(SFT, data, tmp_path / "same", tmp_path / "other")
    assert losses(tmp_path / "run") == losses(tmp_path / "other")


def test_added_tokens_of_a_foreign_model_are_trained_too(tmp_path, sample_shards, opened):
    source = language_model(tmp_path / "source")
    vocabulary = extend(source, tmp_path / "extended").describe()
    data = TrainingData(opened(sample_shards), vocabulary, {"version": "1"})
    first = len(tensors_of(source)["lm_head.weight"])
    whole = tensors_of(train(SFT, data, tmp_path / "extended", tmp_path / "run"))
    before = tensors_of(tmp_path / "extended")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        moved = (whole[name] - before[name]).abs().amax(1)
        assert moved[:first].max() == 0
        assert moved[vocabulary["size"] :].sum() == 0
    assert (whole["lm_head.weight"] - before["lm_head.weight"]).abs().amax(1)[first:].max() > 0
    with pytest.raises(KeyboardInterrupt):
        train(SFT, data, tmp_path / "extended", tmp_path / "stopped", stop_after(3))
    stopped = tensors_of(train(SFT, data, tmp_path / "extended", tmp_path / "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_rows_of_embeddings_that_are_scaled_are_trained_as_the_model_reads_them(tmp_path):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 90}
    torch.manual_seed(0)
    Gemma3ForCausalLM(Gemma3TextConfig(**sizes, **heads, tie_word_embeddings=False)).save_pretrained(tmp_path)
    base, adapted = load_any(tmp_path, "cpu"), load_any(tmp_path, "cpu")
    ids = {"specials": {"eos": 1}, "linguistic": {"first": 40}, "size": 70}
    lora.adapt(adapted, LORA, ids)
    lora.initialise(adapted, seed=0)
    assert isinstance(adapted, HuggingFace)
    documents = torch.zeros_like(TOKENS)
    assert torch.equal(adapted.states(TOKENS, documents), base.states(TOKENS, documents))


def test_a_projection_that_the_model_lacks_is_refused(data, start, tmp_path):
    wrong = SFT.model_copy(update={"lora": LoRAConfig(targets=("q_proj", "qkv_proj"))})
    with pytest.raises(SetupError, match="no projection qkv_proj; they have down_proj, gate_proj, k_proj"):
        train(wrong, data, start, tmp_path / "run")


def test_random_weights_are_refused(data, tmp_path):
    with pytest.raises(SetupError, match="random weights of tiny: `lora` needs a checkpoint"):
        run(SFT, lambda: data, Start(preset="tiny"), tmp_path / "run")


def test_a_run_is_not_resumed_with_others_or_on_other_weights(data, start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(SFT, data, start, tmp_path / "run", stop_after(3))
    other = SFT.model_copy(update={"lora": LoRAConfig(rank=8, alpha=8)})
    with pytest.raises(SetupError, match=r"its config\.lora\.rank is 4, not 8"):
        train(other, data, start, tmp_path / "run")
    with pytest.raises(SetupError, match=r"its config\.lora\.rank is 4, not None"):
        train(SFT.model_copy(update={"lora": None}), data, start, tmp_path / "run")
    write_tensors(start, {name: each * 2 for name, each in tensors_of(start).items()})
    with pytest.raises(SetupError, match="the weights that it starts from have changed since"):
        train(SFT, data, start, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["lora"]["alpha"] == 8
