"""`aqaa-data recipe`"""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: dict[str, Any] = {"type": "string"}
_NOTHING: dict[str, Any] = {"type": "null"}


@click.group()
def recipe() -> None:
    """Recipes and their settings."""


@recipe.command(epilog="Example: aqaa-data recipe schema > recipe.schema.json")
@click.option("--training", is_flag=True, help="Of the recipes that `aqaa-data train` reads.")
@click.option("--vocoder", is_flag=True, help="Of the recipes that train a vocoder.")
@click.option("--align", is_flag=True, help="Of the recipes that `aqaa-data align` reads.")
@click.option("--ablate", is_flag=True, help="Of the recipes that `aqaa-data ablate` reads.")
def schema(training: bool, vocoder: bool, align: bool, ablate: bool) -> None:
    """Write the JSON Schema of build recipes, so that an editor completes and checks them.

    With the YAML language server, begin a recipe with: # yaml-language-server: $schema=recipe.schema.json
    """
    kinds = {
        training_schema: training,
        vocoder_schema: vocoder,
        align_schema: align,
        ablate_schema: ablate,
    }
    wanted = [kind for kind, named in kinds.items() if named] or [build_schema]
    if len(wanted) > 1:
        raise click.UsageError("--training, --vocoder, --align and --ablate are schemas: name one of them")
    made = wanted[0]()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


def build_schema() -> dict[str, Any]:
    """JSON Schema of a build recipe as it is written in YAML."""
    from pipeline.config.recipe import Recipe

    made = _schema_of(Recipe, "aqaa-data build recipe")
    for name in ("inputs", "texts"):
        _also(made["properties"], name, _TEXT)
    for name in ("allow", "deny", "marks"):
        _also(made["$defs"]["SelectConfig"]["properties"], name, _TEXT)
    return made


def training_schema() -> dict[str, Any]:
    """JSON Schema of a training recipe as it is written in YAML."""
    from pipeline.training.recipe import TrainingRecipe

    made = _schema_of(TrainingRecipe, "aqaa-data training recipe")
    _also(made["properties"], "pretrain", made["properties"]["pretrain"]["items"], _NOTHING)
    return made


def vocoder_schema() -> dict[str, Any]:
    """JSON Schema of a recipe that trains a vocoder as it is written in YAML."""
    from pipeline.training.vocoder import VocoderRecipe

    made = _schema_of(VocoderRecipe, "aqaa-data vocoder recipe")
    _also(made["properties"], "vocoder", _NOTHING)
    return made


def align_schema() -> dict[str, Any]:
    """JSON Schema of a recipe of `aqaa-data align`."""
    from pipeline.alignment.recipe import AlignRecipe

    return _schema_of(AlignRecipe, "aqaa-data align recipe")


def ablate_schema() -> dict[str, Any]:
    """JSON Schema of a recipe of `aqaa-data ablate`."""
    from pipeline.ablation.recipe import AblateRecipe

    return _schema_of(AblateRecipe, "aqaa-data ablate recipe")


def _schema_of(model: "type[BaseModel]", title: str) -> dict[str, Any]:
    from pydantic.json_schema import GenerateJsonSchema

    class WithoutFieldTitles(GenerateJsonSchema):
        """Editors show a field's key; a title made from it is noise."""

        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

    made = model.model_json_schema(schema_generator=WithoutFieldTitles)
    return {"$schema": DIALECT} | made | {"title": title}


def _also(properties: dict[str, Any], name: str, *forms: dict[str, Any]) -> None:
    """Let a property have other forms too, which the recipe's reader turns into the declared one."""
    declared = properties[name]
    own = {key: declared.pop(key) for key in tuple(declared) if key not in ("description", "default")}
    choices = own["anyOf"] if set(own) == {"anyOf"} else [own]
    properties[name] = declared | {"anyOf": [*forms, *choices]}
