"""What the README shows can be used as it stands."""

import re

import pytest
import yaml

from pipeline.config.recipe import load as load_data
from pipeline.training.recipe import load as load_training
from pipeline.training.vocoder import load as load_vocoder
from tests.paths import ROOT

SNIPPETS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
TRAINING = {"pretrain", "sft1", "sft2", "dpo"}


def test_there_is_a_recipe_for_everything():
    shown = {key for snippet in SNIPPETS for key in yaml.safe_load(snippet)}
    assert shown >= {
        "texts",
        "compose",
        "interleave",
        "synthesize",
        "preferences",
        "select",
        "mixture",
        *TRAINING,
    }


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_recipe_is_accepted(tmp_path, number):
    snippet = SNIPPETS[number]
    keys = yaml.safe_load(snippet).keys()
    (tmp_path / "withdrawn.txt").write_text("a.wav\n")
    file = tmp_path / "recipe.yaml"
    file.write_text(snippet if "name" in keys else f"name: shown\n{snippet}")
    load = load_vocoder if "vocoder" in keys else load_training if keys & TRAINING else load_data
    recipe = load(file)
    assert recipe.name
