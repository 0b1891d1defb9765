"""The JSON Schemas that editors read accept what the readers accept, and refuse what they refuse."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline import cli
from pipeline.commands.recipe import (
    ablate_schema,
    align_schema,
    build_schema,
    training_schema,
    vocoder_schema,
)
from tests.paths import ROOT

RECIPES = ROOT / "pipeline" / "recipes"
TRAINING = sorted((RECIPES / "train").glob("*.yaml"))
PAPER = RECIPES / "ablations" / "paper.yaml"
BUILD = sorted(set(RECIPES.rglob("*.yaml")) - {*TRAINING, PAPER})

BUILD_SCHEMA = Draft202012Validator(build_schema())
TRAINING_SCHEMA = Draft202012Validator(training_schema())
VOCODER_SCHEMA = Draft202012Validator(vocoder_schema())
ALIGN_SCHEMA = Draft202012Validator(align_schema())
ABLATE_SCHEMA = Draft202012Validator(ablate_schema())


def errors(schema, text):
    return sorted(".".join(map(str, error.path)) for error in schema.iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "schema", [BUILD_SCHEMA, TRAINING_SCHEMA, VOCODER_SCHEMA, ALIGN_SCHEMA, ABLATE_SCHEMA]
)
def test_schemas_are_valid_and_name_their_dialect(schema):
    Draft202012Validator.check_schema(schema.schema)
    assert schema.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema.schema["additionalProperties"] is False


@pytest.mark.parametrize("file", BUILD, ids=lambda file: file.stem)
def test_shipped_build_recipes_are_accepted(file):
    assert errors(BUILD_SCHEMA, file.read_text()) == []


@pytest.mark.parametrize("file", TRAINING, ids=lambda file: file.stem)
def test_shipped_training_recipes_are_accepted(file):
    assert errors(TRAINING_SCHEMA, file.read_text()) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: a\nselekt: {}", ""),
        ("name: a\nselect: {dnsmos_min: 2}", "select"),
        ("name: a\ndecode: {channels: both}", "decode.channels"),
        ("name: a\nshard: {validation_share: 1}", "shard.validation_share"),
        ("name: A b", "name"),
    ],
)
def test_a_mistake_in_a_build_recipe_is_found(text, where):
    assert errors(BUILD_SCHEMA, text) == [where]


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ninputs: recordings\ntexts: chats.jsonl",
        "name: a\nselect: {deny: withdrawn.txt, allow: [a.wav]}",
    ],
)
def test_short_forms_of_a_build_recipe_are_accepted(text):
    assert errors(BUILD_SCHEMA, text) == []


@pytest.mark.parametrize("pretrain", ["", "{epochs: 2}", "[{epochs: 2}, {epochs: 1}]"])
def test_each_form_of_pretraining_is_accepted(pretrain):
    text = f"name: a\ndataset: calls\nbackbone: {{preset: tiny}}\npretrain: {pretrain}\nsft1:"
    assert errors(TRAINING_SCHEMA, text) == []


def test_the_shipped_ablation_is_accepted():
    assert errors(ABLATE_SCHEMA, PAPER.read_text()) == []


def test_a_vocoder_with_all_defaults_is_accepted():
    assert errors(VOCODER_SCHEMA, "name: a\ndataset: calls\nvocoder:") == []


def test_an_editor_shows_descriptions_defaults_and_choices():
    properties = build_schema()["$defs"]["DecodeConfig"]["properties"]
    assert properties["channels"]["enum"] == ["auto", "mix", "split"]
    assert properties["channels"]["default"] == "auto"
    assert all(field["description"] for field in properties.values())


@pytest.mark.parametrize(
    "schema", [BUILD_SCHEMA, TRAINING_SCHEMA, VOCODER_SCHEMA, ALIGN_SCHEMA, ABLATE_SCHEMA]
)
def test_every_setting_has_a_description(schema):
    root, sections = schema.schema, schema.schema.get("$defs", {})
    missing = [
        f"{section}.{name}"
        for section, model in {root["title"]: root, **sections}.items()
        for name, setting in model.get("properties", {}).items()
        if not setting.get("description")
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ([], "aqaa-data build recipe"),
        (["--training"], "aqaa-data training recipe"),
        (["--vocoder"], "aqaa-data vocoder recipe"),
        (["--align"], "aqaa-data align recipe"),
        (["--ablate"], "aqaa-data ablate recipe"),
    ],
)
def test_the_command_writes_json(capsys, options, title):
    cli.main(["recipe", "schema", *options])
    assert json.loads(capsys.readouterr().out)["title"] == title
