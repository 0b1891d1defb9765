"""What README and docs show works: recipes load, commands parse, links lead somewhere, ids are right."""

import ast
import contextlib
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
import yaml

import aqaa_data
from pipeline.ablation.recipe import load as load_ablation
from pipeline.alignment.recipe import load as load_align
from pipeline.cli import root
from pipeline.commands.arguments import recipe_names
from pipeline.commands.evaluate import evaluate
from pipeline.config.recipe import load as load_data
from pipeline.evaluation.recipe import COMMANDS
from pipeline.evaluation.recipe import load as load_evaluation
from pipeline.models import resolve
from pipeline.training.recipe import load as load_training
from pipeline.training.vocoder import load as load_vocoder
from schemas.vocabulary import Vocabulary
from tests.paths import ROOT
from tests.test_layers import PIPELINE

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "infra").glob("*.md")),
]
TRAINING = {"backbone", "train", "pretrain", "sft1", "sft2", "dpo", "merge"}
COMPLETE = {"backbone": {"preset": "tiny"}, "dataset": "demo", "sft1": {}}
"""What a part of a training recipe is tested with."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def in_all(language: str) -> list:
    """Every block of a language, named after its page and number."""
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, language))
    ]


@pytest.mark.parametrize("text", in_all("yaml"))
def test_every_recipe_is_accepted(tmp_path, capsys, text):
    values = yaml.safe_load(text)
    (tmp_path / "withdrawn.txt").write_text("a.wav\n")
    (tmp_path / "marks.jsonl").write_text("")
    if "tables" in values:
        load = load_ablation
    elif "checkpoint" in values:
        load = load_align
    elif of := values.keys() & {*COMMANDS}:
        (command,) = of
        load = partial(load_evaluation, command=command, options=recipe_names(evaluate.commands[command]))
    elif "vocoder" in values:
        load = load_vocoder
    elif values.keys() & TRAINING:
        load, values = load_training, COMPLETE | values if "backbone" not in values else values
    else:
        load = load_data
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"name": "shown"} | values, sort_keys=False, allow_unicode=True))
    assert load(file).name
    assert "old name" not in capsys.readouterr().err


def test_there_is_a_recipe_for_everything():
    shown = {key for page in PAGES for text in blocks(page, "yaml") for key in yaml.safe_load(text)}
    assert shown >= {"texts", "compose", "interleave", "synthesize", "preferences", "select", "mixture"}
    assert shown >= TRAINING | {"vocoder"}


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """(page, arguments) of every `aqaa-data ..` in shell blocks and between backticks."""
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\||;", line):
                    words = shlex.split(part, comments=True)
                    at = next((n for n, word in enumerate(words) if word.endswith("aqaa-data")), None)
                    if at is not None and words[0] in ("aqaa-data", ".venv/bin/aqaa-data", "torchrun"):
                        arguments = words[at + 1 :]
                        yield name, arguments[: arguments.index(">")] if ">" in arguments else arguments


def inline_commands() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for text in re.findall(r"(?<!`)`aqaa-data ([^`]+)`(?!`)", page.read_text()):
            yield str(page.relative_to(ROOT)), shlex.split(text)


LINES = list(command_lines())


def described(cases: list[tuple[str, list[str]]]) -> list:
    return [pytest.param(words, id=f"{page}: {' '.join(words)}") for page, words in cases]


def command_of(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """The command that arguments call, and its own arguments. Raises click.UsageError."""
    command: click.Command = root
    while isinstance(command, click.Group):
        if not arguments or arguments[0].startswith("-"):
            break
        found = command.get_command(click.Context(command), arguments[0])
        if found is None:
            raise click.UsageError(f"there is no command {arguments[0]}")
        command, arguments = found, arguments[1:]
    return command, arguments


@pytest.mark.parametrize("arguments", described(LINES))
def test_every_command_line_parses(arguments):
    command, own = command_of(arguments)
    with contextlib.suppress(click.exceptions.Exit):
        command.make_context("aqaa-data", own)


@pytest.mark.parametrize("words", described(list(inline_commands())))
def test_every_command_in_the_text_exists_with_its_options(words):
    command, own = command_of(words)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
    assert {word.partition("=")[0] for word in own if word.startswith("-") and len(word) > 1} <= known


@pytest.mark.parametrize("text", in_all("python"))
def test_every_program_is_python_and_uses_what_the_api_has(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "aqaa_data":
            assert {alias.name for alias in node.names} <= set(aqaa_data.__all__)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "aqaa_data" or node.attr in aqaa_data.__all__


def test_the_architecture_shows_the_order_of_imports():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert tuple(rows) == PIPELINE


def test_every_command_is_explained_somewhere():
    shown = {arguments[0] for _, arguments in LINES}
    assert shown >= set(root.list_commands(click.Context(root)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    generated = {
        ROOT / "docs" / "reference" / f"{name}.md"
        for name in ("recipe", "training", "vocoder", "align", "ablate")
    }
    generated.add(ROOT / "docs" / "reference" / "commands.md")
    missing = [
        link
        for link in links
        if link and not (page.parent / link).exists() and (page.parent / link).resolve() not in generated
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_of_the_repository_that_are_named_exist(page):
    folders = "schemas|stages|pipeline|tests|infra|docs"
    named = re.findall(rf"(?<!`)`((?:{folders})/[\w./-]*)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_ids_of_the_vocabulary_are_those_of_the_default():
    text = (ROOT / "docs" / "families.md").read_text()
    vocabulary = Vocabulary.embedded(resolve("package:whisper-base").path)
    for name, id in {
        "padding": vocabulary.pad,
        "BOS": vocabulary.bos,
        "EOS": vocabulary.eos,
        "BOT": vocabulary.bot,
        "EOT": vocabulary.eot,
        "`<audio_start>`": vocabulary.audio_start,
        "`<audio_end>`": vocabulary.audio_end,
        "linguistic code *n*": f"{vocabulary.linguistic} + *n*",
        "semantic code *n*": f"{vocabulary.linguistic + 1024} + *n*",
    }.items():
        assert f"| {name} | {id} |" in text
    written = "3748 775 264 8145 584 11 1349 337 1349 30 198"
    ids = vocabulary.encode("What does the speaker say, word for word?\n")
    assert ids.tolist() == [int(number) for number in written.split()]
