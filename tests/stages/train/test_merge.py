import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from schemas.errors import SetupError
from stages.train import merge as merging
from stages.train.checkpoint import load, save
from stages.train.merge import WeightedCheckpoint, merge
from stages.train.model import Step1
from stages.train.shape import Shape

LITTLE = Shape(hidden=32, ffn=48, heads=4, groups=2, layers=2, vocabulary=80, context=64)


@pytest.fixture
def checkpoints(vocabulary, tmp_path) -> list[Path]:
    """Three runs of one shape, in float32."""
    for seed, name in enumerate(("sft1", "sft2", "dpo")):
        model = Step1(LITTLE)
        model.initialise(seed)
        save(model, tmp_path / name, vocabulary.describe())
    return [tmp_path / name for name in ("sft1", "sft2", "dpo")]


def parts(checkpoints, weights=(5, 5, 1)):
    return [WeightedCheckpoint(folder, weight) for folder, weight in zip(checkpoints, weights, strict=True)]


def test_the_merge_is_the_weighted_mean_bit_for_bit(checkpoints, tmp_path):
    merge(parts(checkpoints), tmp_path / "merged")
    a, b, c = (load(folder).state_dict() for folder in checkpoints)
    merged = load(tmp_path / "merged").state_dict()
    for name, tensor in merged.items():
        assert torch.equal(tensor, (5 * a[name] + 5 * b[name] + 1 * c[name]) / 11)


def test_the_size_of_pieces_changes_nothing_and_limits_memory(checkpoints, tmp_path, monkeypatch):
    merge(parts(checkpoints), tmp_path / "whole")
    monkeypatch.setattr(merging, "PIECE_BYTES", 1000)
    with Largest() as largest:
        merge(parts(checkpoints), tmp_path / "pieces")
    assert 0 < largest.elements <= 1000 // 4
    whole, pieces = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "pieces"))
    assert whole == pieces


class Largest(TorchDispatchMode):
    """The largest number of elements of any float32 tensor that is created, apart from mapped files."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.float32 and not func.is_view:
            self.elements = max(self.elements, out.numel())
        return out


def test_bfloat16_is_added_up_in_float32_and_rounded_once(tmp_path):
    models = []
    for seed, name in enumerate("ab"):
        models.append(Step1(LITTLE))
        models[-1].initialise(seed)
        save(models[-1], tmp_path / name, dtype=torch.bfloat16)
    merge([WeightedCheckpoint(tmp_path / "a", 1), WeightedCheckpoint(tmp_path / "b", 2)], tmp_path / "merged")
    a, b = (model.state_dict()["lm_head.weight"].bfloat16().float() for model in models)
    merged = merging.SafetensorsFolder(tmp_path / "merged").tensor("lm_head.weight")
    assert merged.dtype == torch.bfloat16
    assert torch.equal(merged, ((a + 2 * b) / 3).bfloat16())


def test_hashes_of_all_inputs_are_recorded(checkpoints, tmp_path):
    merge(parts(checkpoints), tmp_path / "merged")
    record = json.loads((tmp_path / "merged" / "merge.json").read_text())
    assert [held["weight"] for held in record["inputs"]] == [5, 5, 1]
    for held, folder in zip(record["inputs"], checkpoints, strict=True):
        assert held["sha256"].keys() == {"model.safetensors", "config.json", "vocabulary.json"}
        for name, digest in held["sha256"].items():
            assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_other_shapes_are_refused_by_the_first_that_differs(checkpoints, tmp_path):
    wider = Step1(Shape(hidden=32, ffn=56, heads=4, groups=2, layers=2, vocabulary=80, context=64))
    wider.initialise(0)
    save(wider, tmp_path / "wider")
    with pytest.raises(SetupError, match=r"layers\.0\.mlp\.down_proj\.weight is \[32, 48\] and \[32, 56\]"):
        merge(parts([*checkpoints[:2], tmp_path / "wider"]), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_other_keys_are_refused(checkpoints, tmp_path):
    deeper = Step1(Shape(hidden=32, ffn=48, heads=4, groups=2, layers=3, vocabulary=80, context=64))
    deeper.initialise(0)
    save(deeper, tmp_path / "deeper")
    with pytest.raises(
        SetupError, match=r"layers\.2\.input_layernorm\.weight is in .*deeper but not in .*sft1"
    ):
        merge(parts([*checkpoints[:2], tmp_path / "deeper"]), tmp_path / "merged")


def test_other_precisions_are_refused(checkpoints, tmp_path):
    save(load(checkpoints[0]), tmp_path / "half", dtype=torch.bfloat16)
    with pytest.raises(SetupError, match=r"lm_head\.weight is float32 and bfloat16"):
        merge(parts([*checkpoints[:2], tmp_path / "half"]), tmp_path / "merged")


def test_a_config_without_a_size_is_not_called_invalid_json(checkpoints, tmp_path):
    config = checkpoints[1] / "config.json"
    content = json.loads(config.read_text())
    del content["hidden_size"]
    config.write_text(json.dumps(content))
    with pytest.raises(SetupError, match=r"sft2 has no usable config\.json: 'hidden_size'"):
        merge(parts(checkpoints), tmp_path / "merged")
    config.write_text(json.dumps(content | {"hidden_size": 32, "rms_norm_eps": 1e-6}))
    with pytest.raises(SetupError, match=r"sft2 has no usable config\.json: rms_norm_eps"):
        merge(parts(checkpoints), tmp_path / "merged")


def test_a_checkpoint_of_an_older_version_is_merged_with_a_newer_one(checkpoints, tmp_path):
    old = checkpoints[0] / "config.json"
    old.write_text(json.dumps(json.loads(old.read_text()) | {"eos_token_id": 3, "auto_map": None}))
    (checkpoints[1] / "tokenizer.json").write_text("{}")
    merge(parts(checkpoints), tmp_path / "merged")
    assert (tmp_path / "merged" / "modeling_step1.py").exists()
    assert not (tmp_path / "merged" / "tokenizer.json").exists()


def test_other_tokenizers_are_refused(checkpoints, tmp_path):
    file = checkpoints[1] / "vocabulary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_sha256": "0"}))
    with pytest.raises(SetupError, match=r"vocabulary\.json differs in tokenizer_sha256"):
        merge(parts(checkpoints), tmp_path / "merged")
    file.unlink()
    with pytest.raises(SetupError, match=r"vocabulary\.json differs: only one has it"):
        merge(parts(checkpoints), tmp_path / "merged")


def test_an_existing_folder_is_not_written_to(checkpoints):
    with pytest.raises(SetupError, match="already exists"):
        merge(parts(checkpoints), checkpoints[0])


@pytest.mark.parametrize("weights", [(0, 0, 0), (1, 2, -1)])
def test_weights_without_a_mean_are_refused(checkpoints, tmp_path, weights):
    with pytest.raises(SetupError, match="at least two checkpoints"):
        merge(parts(checkpoints, weights), tmp_path / "merged")


def command(*arguments):
    program = Path(sys.executable).with_name("aqaa-data")
    return subprocess.run([program, "merge", *map(str, arguments)], capture_output=True, text=True)


def test_the_command_merges(checkpoints, tmp_path):
    named = [f"{folder}={weight}" for folder, weight in zip(checkpoints, (5, 5, 1), strict=True)]
    done = command(*named, "--out", tmp_path / "merged", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs"][2]["weight"] == 1
    assert load(tmp_path / "merged").shape == LITTLE


def test_the_command_reports_what_is_wrong(checkpoints, tmp_path):
    wrong_use = command(checkpoints[0], "--out", tmp_path / "merged")
    assert wrong_use.returncode == 2
    assert "not a checkpoint with its weight" in wrong_use.stderr
    no_checkpoint = command(f"{checkpoints[0]}=1", f"{tmp_path}=1", "--out", tmp_path / "merged")
    assert no_checkpoint.returncode == 1
    assert "has no model.safetensors" in no_checkpoint.stderr
