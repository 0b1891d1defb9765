"""A foreign model that can't be trained is refused before anything of it is kept."""

import pytest

from pipeline.training.backbone import backbone_of
from pipeline.training.recipe import BackboneConfig, TrainingRecipe
from pipeline.training.training_folder import TrainingFolder
from schemas.errors import SetupError
from tests.stages.train.foreign_models import REFUSED, tokenizer_of, write_model


def backbone(tmp_path, kind, name=None, output=None):
    """What a recipe of always the same name starts from."""
    source = tmp_path / (name or kind)
    source.mkdir()
    write_model(kind, source, tokenizer_of(source))
    start = BackboneConfig(checkpoint=str(source))
    recipe = TrainingRecipe(
        name="chain",
        dataset="calls",
        output=output or str(tmp_path / "runs"),
        scratch=str(tmp_path / "scratch"),
        backbone=start,
    )
    return backbone_of(recipe, TrainingFolder(recipe))


def test_after_a_refused_model_the_recipe_can_name_another(tmp_path):
    with pytest.raises(SetupError, match="can't be trained"):
        backbone(tmp_path, REFUSED[0])
    extended = backbone(tmp_path, "llama")
    assert '"llama"' in (extended / "config.json").read_text()


@pytest.mark.parametrize("remote", [False, True])
def test_another_model_than_the_one_that_was_extended_is_refused(tmp_path, bucket, remote):
    output = f"{bucket}/runs" if remote else None
    backbone(tmp_path, "llama", output=output)
    with pytest.raises(SetupError, match=r"runs/chain/backbone extends .*/llama, and now .* is .*/other"):
        backbone(tmp_path, "llama", "other", output)
