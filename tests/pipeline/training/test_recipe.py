"""Training recipes: what is accepted, what follows from it, and how a mistake is reported."""

from pathlib import Path

import pytest

import pipeline
from pipeline.training.recipe import load
from schemas.errors import SetupError

MINIMAL = "name: a\ndataset: calls\nbackbone: {preset: tiny}\nsft1:\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "recipe.yaml").write_text(text)
        return str(tmp_path / "recipe.yaml")

    return write


def test_a_stage_without_settings_has_those_of_the_paper(written):
    recipe = load(written(MINIMAL + "sft2:\ndpo:\nmerge:\n"))
    assert recipe.chain == ["sft1", "sft2", "dpo", "merge"]
    for stage in (recipe.sft1, recipe.sft2):
        assert (stage.learning_rate, stage.final_learning_rate, stage.epochs) == (2e-5, 2e-6, 1)
    assert (recipe.sft1.families, recipe.sft2.families) == (("aqta", "aqtaa"), ("aqtaa",))
    assert (recipe.dpo.objective, recipe.dpo.preference.mask_audio) == ("dpo", True)
    assert recipe.merge.weights == {"sft1": 5, "sft2": 5, "dpo": 1}


def test_places_of_the_evaluation_are_beside_the_recipe(written, tmp_path):
    places = MINIMAL + "evaluate: {benchmark: held-out.jsonl, vocoder: voice}\n"
    evaluate = load(written(places)).evaluate
    assert evaluate.benchmark == str(tmp_path / "held-out.jsonl")
    assert evaluate.vocoder == str(tmp_path / "voice")
    assert load(written(MINIMAL + "evaluate:\n")).evaluate.benchmark == "builtin"


def test_dpo_starts_from_sft1_and_other_stages_from_the_previous_one(written):
    recipe = load(written(MINIMAL + "pretrain: [{}, {}]\nsft2:\ndpo:\n"))
    assert {name: recipe.start_of(name) for name in recipe.stages} == {
        "pretrain1": None,
        "pretrain2": "pretrain1",
        "sft1": "pretrain2",
        "sft2": "sft1",
        "dpo": "sft1",
    }


def test_settings_of_train_apply_to_all_stages_that_dont_override_them(written):
    recipe = load(
        written(
            MINIMAL + "dpo: {global_batch_size: 2}\ntrain: {global_batch_size: 4, sequence_length: 512}\n"
        )
    )
    assert (recipe.sft1.global_batch_size, recipe.dpo.global_batch_size) == (4, 2)
    assert recipe.sft1.sequence_length == recipe.dpo.sequence_length == 512


def test_the_rates_of_train_are_not_those_of_dpo(written):
    rates = "train: {learning_rate: 1.0e-2, final_learning_rate: 1.0e-3}\n"
    recipe = load(written(MINIMAL + "pretrain:\ndpo:\n" + rates))
    for stage in (recipe.sft1, recipe.pretrain[0]):
        assert (stage.learning_rate, stage.final_learning_rate) == (1e-2, 1e-3)
    assert (recipe.dpo.learning_rate, recipe.dpo.final_learning_rate) == (1e-6, 1e-7)
    own = load(written(MINIMAL + "dpo: {learning_rate: 5.0e-6}\n" + rates)).dpo
    assert (own.learning_rate, own.final_learning_rate) == (5e-6, 1e-7)


@pytest.mark.parametrize("preset", ["step1-3b", "step1-130b"])
def test_pre_training_of_a_large_recipe_has_the_rate_of_random_weights(preset):
    recipe = load(str(Path(pipeline.__file__).parent / "recipes" / "train" / f"{preset}.yaml"))
    assert [stage.learning_rate for stage in recipe.pretrain] == [3e-4] * 3
    assert recipe.sft1.learning_rate == 2e-5


def test_adapters_are_for_checkpoints(written):
    with pytest.raises(SetupError, match="sft1 starts from random weights, and `lora` trains adapters"):
        load(written(MINIMAL + "train: {lora: {}}\n"))
    recipe = load(written(MINIMAL + "dpo: {lora: {rank: 8, targets: [q_proj]}}\n"))
    assert recipe.sft1.lora is None
    assert (recipe.dpo.lora.rank, recipe.dpo.lora.alpha, recipe.dpo.lora.targets) == (8, 32, ("q_proj",))
    with pytest.raises(SetupError, match=r"lora\.added_tokens can't be trained with tensor_parallel"):
        load(written(MINIMAL + "dpo: {tensor_parallel: 2, lora: {added_tokens: true}}\n"))


def test_old_names_of_keys_still_work_with_a_warning_each(written, capsys):
    text = MINIMAL + "train: {batch: 4, clip: 2}\npretrain: [{embedding_rate: 5}, {}]\ndpo: {tensor: 2}\n"
    recipe = load(written(text), ["sft1.recompute=true"])
    assert (recipe.dpo.global_batch_size, recipe.dpo.max_grad_norm, recipe.dpo.tensor_parallel) == (4, 2, 2)
    assert recipe.pretrain[0].embedding_lr_multiplier == 5
    assert recipe.sft1.activation_checkpointing
    file, ending = written(text), "; the old name works until the next release"
    assert capsys.readouterr().err.splitlines() == [
        f"{file}:5: `train.batch` is now called `train.global_batch_size`{ending}",
        f"{file}:5: `train.clip` is now called `train.max_grad_norm`{ending}",
        f"{file}:6: `pretrain.0.embedding_rate` is now called `pretrain.0.embedding_lr_multiplier`{ending}",
        f"{file}:7: `dpo.tensor` is now called `dpo.tensor_parallel`{ending}",
        "--set sft1.recompute=true: `sft1.recompute` is now called `sft1.activation_checkpointing`" + ending,
    ]


def test_both_names_of_a_key_are_refused(written):
    with pytest.raises(SetupError, match=r"recipe.yaml:6 and .*recipe.yaml:7: `dpo.clip` is the old name"):
        load(written(MINIMAL + "dpo:\n  clip: 1\n  max_grad_norm: 1\n"))


def test_an_old_name_in_a_shared_section_of_yaml_is_read_once_for_each_stage(written):
    recipe = load(written(MINIMAL.replace("sft1:", "sft1: &own {batch: 4}\nsft2: *own")))
    assert (recipe.sft1.global_batch_size, recipe.sft2.global_batch_size) == (4, 4)


def test_paths_are_relative_to_the_recipe_and_bare_names_are_datasets(written, tmp_path):
    recipe = load(
        written(MINIMAL.replace("calls", "sets/calls@good") + "sft2: {dataset: best}\noutput: out\n")
    )
    assert recipe.sft1.dataset == str(tmp_path / "sets" / "calls@good")
    assert recipe.sft2.dataset == "best"
    assert recipe.output == (tmp_path / "out").as_uri()


def test_dataset_and_output_of_the_command_replace_those_of_the_recipe(written):
    recipe = load(written(MINIMAL + "sft2: {dataset: best}\n"), (), "s3://b/calls", "s3://b/runs")
    assert {stage.dataset for stage in recipe.stages.values()} == {"s3://b/calls"}
    assert recipe.output == "s3://b/runs"


@pytest.mark.parametrize(
    ("more", "settings", "message"),
    [
        ("stf2: {}\n", [], "recipe.yaml:5: unknown key `stf2`; did you mean `sft2`?"),
        ("sft2: {learning_rat: 1}\n", [], "recipe.yaml:5: unknown key `sft2.learning_rat`; did you mean"),
        (
            "train:\n  global_batch: 3\n",
            [],
            "recipe.yaml:6: unknown key `train.global_batch`; did you mean `global_batch_size`?",
        ),
        (
            "",
            ["sft1.global_batch_size=x"],
            "--set sft1.global_batch_size=x: `sft1.global_batch_size`: input should be a valid integer",
        ),
        (
            "",
            ["backbone.preset=tine"],
            "there is no preset tine: choose one of tiny, talk, small, step1-3b, step1-130b",
        ),
        ("", ["backbone={}"], "`backbone`: value error, name a preset or a checkpoint"),
        ("sft2: {quality: {dnsmos_overal_min: 3}}\n", [], "did you mean `dnsmos_overall_min`?"),
        ("sft2: {start: sft3}\n", [], "sft2 starts from 'sft3', which is not an earlier stage"),
        (
            "merge: {weights: {sft1: 1, sft2: 1}}\n",
            [],
            "merge needs 'sft2', which is not a stage of the chain",
        ),
        ("sft2: {dataset: 'a b'}\n", [], "'a b' is not a dataset reference"),
        ("pretrain: {mixture: {replay: 1}}\n", [], "`mixture` names a family that `families` doesn't"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_what_to_write(written, more, settings, message):
    with pytest.raises(SetupError) as error:
        load(written(MINIMAL + more), settings)
    assert message in str(error.value)


def test_a_recipe_without_stages_is_refused(written):
    with pytest.raises(SetupError, match="there is nothing to do: add a stage"):
        load(written("name: a\ndataset: calls\nbackbone: {preset: tiny}\n"))


BUNDLED = sorted((Path(pipeline.__file__).parent / "recipes" / "train").glob("*.yaml"))
BUNDLED = [file for file in BUNDLED if file.stem != "ablation"]  # cells add the stages that they compare


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: file.stem)
def test_bundled_recipes_are_complete_chains_of_their_preset_or_tune_a_released_model(file):
    recipe = load(str(file))
    assert recipe.name == file.stem
    if recipe.backbone.checkpoint:
        assert recipe.backbone.checkpoint == file.stem
        assert recipe.chain == ["sft1", "dpo"]
    else:
        assert recipe.backbone.preset == file.stem
        assert recipe.chain[-4:] == ["sft1", "sft2", "dpo", "merge"]
