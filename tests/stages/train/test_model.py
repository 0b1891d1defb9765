import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask

from schemas.errors import SetupError
from stages.train.checkpoint import load, save
from stages.train.model import Step1, alibi_slopes, dense_attention, document_blocks, flex_attention_for
from stages.train.shape import PRESETS, Shape, public_config, shape_of
from stages.train.weights import SafetensorsFolder, write_tensors

LITTLE = Shape(hidden=48, ffn=80, heads=6, groups=2, layers=2, vocabulary=97, context=64)


@pytest.fixture
def model() -> Step1:
    torch.set_num_threads(1)
    model = Step1(LITTLE)
    model.initialise(seed=1)
    return model


@pytest.mark.parametrize(
    ("preset", "parameters", "backbone"),
    [
        ("small", 215_507_712, 100_688_640),
        ("step1-3b", 3_529_706_496, 3_070_430_208),
        ("step1-130b", 131_946_590_208, 130_109_485_056),
    ],
)
def test_presets_have_the_public_sizes(preset, parameters, backbone):
    with torch.device("meta"):
        model = Step1(PRESETS[preset])
    assert sum(p.numel() for p in model.parameters()) == PRESETS[preset].parameters == parameters
    assert sum(p.numel() for n, p in model.named_parameters() if "layers" in n or "norm" in n) == backbone


def test_slopes_of_a_power_of_two_fall_to_two_to_the_minus_eight():
    assert alibi_slopes(8).tolist() == [2.0**-k for k in range(1, 9)]


def test_slopes_of_other_head_counts_continue_between_the_first_ones():
    slopes = alibi_slopes(48)
    assert slopes[:32].tolist() == pytest.approx([2 ** (-8 * k / 32) for k in range(1, 33)])
    assert slopes[32:].tolist() == pytest.approx([2 ** (-4 * odd / 32) for odd in range(1, 32, 2)])


def by_hand(q, k, v, documents, slopes):
    """Attention, computed for one head and one position at a time."""
    out = torch.zeros_like(q)
    heads_per_group = q.shape[1] // k.shape[1]
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                seen = [j for j in range(i + 1) if documents[b, j] == documents[b, i]]
                scores = torch.stack(
                    [
                        q[b, h, i] @ k[b, h // heads_per_group, j] / math.sqrt(q.shape[3])
                        - slopes[h] * math.sqrt(i - j)
                        for j in seen
                    ]
                )
                weights = scores.softmax(0)
                out[b, h, i] = sum(
                    w * v[b, h // heads_per_group, j] for w, j in zip(weights, seen, strict=True)
                )
    return out


@pytest.fixture
def packed():
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 6, 24, 8, generator=generator, dtype=torch.float64)
    k, v = (torch.randn(2, 2, 24, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    documents = torch.tensor([[0] * 9 + [1] * 10 + [2] * 5, [0] * 24])
    return q, k, v, documents, alibi_slopes(6).double()


def test_dense_attention_is_the_formula(packed):
    q, k, v, documents, slopes = packed
    result = dense_attention(documents, slopes)(q, k, v)
    assert torch.allclose(result, by_hand(*packed), atol=1e-6)


def test_flex_attention_equals_dense_attention(packed):
    q, k, v, documents, slopes = (x.float() if x.is_floating_point() else x for x in packed)
    dense = dense_attention(documents, slopes)(q, k, v)
    flex = flex_attention_for(documents, slopes, compiled=False)(q, k, v)
    assert torch.allclose(dense, flex, atol=1e-5)


@pytest.mark.parametrize("length", [128, 130, 1000, 2048])
def test_flex_attention_skips_exactly_the_blocks_without_attention(length):
    generator = torch.Generator().manual_seed(length)
    cuts = torch.randint(0, length, (3, 5), generator=generator).sort().values
    documents = torch.stack([torch.searchsorted(c, torch.arange(length), right=True) for c in cuts])
    documents[1] += 6
    documents[2, -(length // 3) :] = -1

    def seen(b, h, i, j):
        return (i >= j) & (documents[b, i] == documents[b, j])

    result = document_blocks(documents, seen)
    expected = create_block_mask(seen, 3, None, length, length, device="cpu")
    for kind in ("kv", "full_kv", "q", "full_q"):
        assert torch.equal(marked(result, kind), marked(expected, kind)), kind
    assert result.shape == expected.shape


def marked(blocks, kind):
    """1 for each block in the list."""
    counts, listed = (getattr(blocks, f"{kind}_{what}") for what in ("num_blocks", "indices"))
    result = torch.zeros(listed.shape)
    for at in itertools.product(*map(range, counts.shape)):
        result[at][listed[at][: counts[at]].long()] = 1
    return result


@pytest.mark.gpu
def test_flex_attention_has_the_gradients_of_dense_attention():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([300, 500, 224])
    documents = torch.arange(3).repeat_interleave(lengths)[None].cuda()
    slopes = alibi_slopes(6)
    gradients = []
    for make in (dense_attention, flex_attention_for):
        generator.manual_seed(0)
        q, k, v = (
            torch.randn(1, heads, 1024, 64, generator=generator).cuda().requires_grad_()
            for heads in (6, 2, 2)
        )
        make(documents, slopes)(q, k, v).square().sum().backward()
        gradients.append((q.grad, k.grad, v.grad))
    for dense, flex in zip(*gradients, strict=True):
        assert torch.allclose(dense, flex, atol=1e-2, rtol=1e-2)


def test_documents_of_a_sequence_do_not_attend_to_each_other(model):
    tokens = torch.randint(0, 97, (1, 30), generator=torch.Generator().manual_seed(3))
    documents = torch.tensor([[0] * 11 + [1] * 19])
    packed = model(tokens, documents)
    assert torch.allclose(packed[:, :11], model(tokens[:, :11]), atol=1e-5)
    assert torch.allclose(packed[:, 11:], model(tokens[:, 11:]), atol=1e-5)


def test_a_position_does_not_depend_on_later_ones(model):
    tokens = torch.randint(0, 97, (1, 30), generator=torch.Generator().manual_seed(3))
    changed = tokens.clone()
    changed[0, 20:] = 5
    assert torch.equal(model(tokens)[:, :20], model(changed)[:, :20])


def test_the_forward_pass_equals_that_of_the_published_model(model):
    """Written out without any of the model's own code."""
    tokens = torch.randint(0, 97, (1, 12), generator=torch.Generator().manual_seed(5))
    w = model.state_dict()

    def norm(x, weight):
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    x = w["model.embed_tokens.weight"][tokens]
    for n in range(LITTLE.layers):
        at = f"model.layers.{n}."
        h = norm(x, w[at + "input_layernorm.weight"])
        q, k, v = (
            (h @ w[f"{at}self_attn.{name}_proj.weight"].T).view(1, 12, -1, 8).transpose(1, 2)
            for name in "qkv"
        )
        o = by_hand(q, k, v, torch.zeros(1, 12), alibi_slopes(6)).transpose(1, 2).reshape(1, 12, 48)
        x = x + o @ w[at + "self_attn.o_proj.weight"].T
        h = norm(x, w[at + "post_attention_layernorm.weight"])
        gate, up = (h @ w[f"{at}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (F.silu(gate) * up) @ w[at + "mlp.down_proj.weight"].T
    logits = norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T
    assert torch.allclose(model(tokens), logits, atol=1e-5)


def test_a_seed_gives_the_same_weights(model):
    again = Step1(LITTLE)
    again.initialise(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_checkpoint_has_the_public_keys_and_config(model, tmp_path):
    save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Step1ForCausalLM"]
    assert config["model_type"] == "step1"
    assert (config["pad_token_id"], config["bos_token_id"], config["eos_token_id"]) == (0, 1, [2, 3])
    assert config["num_attention_groups"] == 2
    assert config["tie_word_embeddings"] is False
    per_layer = {
        "input_layernorm": (48,),
        "post_attention_layernorm": (48,),
        "self_attn.q_proj": (48, 48),
        "self_attn.k_proj": (16, 48),
        "self_attn.v_proj": (16, 48),
        "self_attn.o_proj": (48, 48),
        "mlp.gate_proj": (80, 48),
        "mlp.up_proj": (80, 48),
        "mlp.down_proj": (48, 80),
    }
    expected = {
        f"model.layers.{n}.{name}.weight": shape for n in range(2) for name, shape in per_layer.items()
    }
    expected |= {
        "model.embed_tokens.weight": (97, 48),
        "lm_head.weight": (97, 48),
        "model.norm.weight": (48,),
    }
    assert {name: spec.shape for name, spec in SafetensorsFolder(tmp_path).specs.items()} == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_a_shape_is_read_back_from_its_config(preset):
    config = public_config(PRESETS[preset], "bfloat16", {"pad": 0, "bos": 1, "eos": 2, "eot": 3})
    assert shape_of(config) == PRESETS[preset]


def test_a_checkpoint_is_read_back_bit_for_bit(model, tmp_path):
    save(model, tmp_path)
    back = load(tmp_path)
    assert back.shape == LITTLE
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), back.parameters(), strict=True))


def test_weights_in_several_files_are_read_by_other_libraries(model, tmp_path):
    from safetensors.torch import load_file

    files = write_tensors(tmp_path, model.state_dict(), torch.bfloat16, file_bytes=20_000)
    assert len(files) > 2
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    for name, tensor in model.state_dict().items():
        held = load_file(tmp_path / index["weight_map"][name])
        assert torch.equal(held[name], tensor.bfloat16())


def test_a_folder_of_another_model_is_refused(model, tmp_path):
    save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 81}))
    with pytest.raises(SetupError, match=r"gate_proj.weight is \[80, 48\], not \[81, 48\]"):
        load(tmp_path)
    del config["num_attention_groups"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(SetupError, match="LlamaForCausalLM"):
        load(tmp_path)
    with pytest.raises(SetupError, match=r"config\.json"):
        load(tmp_path / "nothing")


def test_a_checkpoint_without_one_tensor_is_refused(model, tmp_path: Path):
    save(model, tmp_path)
    some = model.state_dict()
    del some["model.norm.weight"]
    write_tensors(tmp_path, some)
    with pytest.raises(SetupError, match=r"lacks model\.norm\.weight"):
        load(tmp_path)
