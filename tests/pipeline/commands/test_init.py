"""`aqaa-data init --talk`: a folder whose recipes and dialogues fit together."""

import json

import pytest
from click.testing import CliRunner

from pipeline.alignment.prompts import held_out_of, prompts_of
from pipeline.alignment.recipe import load as load_align
from pipeline.cli import root
from pipeline.config.recipe import load
from pipeline.inputs.row_files import read_rows
from pipeline.models import resolve
from pipeline.training.planning import plan_of
from pipeline.training.recipe import load as load_training
from schemas.chat import parse
from schemas.vocabulary import Vocabulary
from stages.synthesize.talk.dialogues import OPENING, is_held_out
from stages.synthesize.talk.hearing import right
from stages.train.plan import parameters
from stages.train.shape import PRESETS


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talk") / "new"
    done = CliRunner().invoke(root, ["init", "--talk", str(folder)])
    assert done.exit_code == 0, done.output
    recipes = ("talk-questions.yaml", "talk-answers.yaml", "recipe.yaml")
    builds = (f"aqaa-data build {folder}/{name}" for name in recipes)
    assert done.output.endswith(f"next: {' && '.join(builds)}\n")
    return folder


def test_the_recipe_reads_the_dialogues_and_has_their_styles(talk):
    recipe = load(talk / "recipe.yaml")
    chats = [parse(row.value, row.where) for row in read_rows(recipe.synthesize.conversations)]
    assert len(chats) == 4_000
    assert {chat.answer_styles for chat in chats} == {(), *((name,) for name in recipe.synthesize.styles)}
    assert not set(recipe.synthesize.speech.human_voices) & set(recipe.synthesize.speech.assistant_voices)


def test_what_other_recipes_speak_is_read_with_it(talk):
    recipe, questions, answers = (
        load(talk / f"{name}.yaml") for name in ("recipe", "talk-questions", "talk-answers")
    )
    spoken_by = [f"{each.output}/{each.name}/synthesis" for each in (questions, answers)]
    assert [f"file://{path}" for path in recipe.inputs] == spoken_by
    written, spoken, asked, answered = (
        [row.value for row in read_rows(files)]
        for files in (recipe.texts, *(each.synthesize.conversations for each in (recipe, questions, answers)))
    )
    assert written == spoken + asked + answered
    assert (len(asked), len(answered)) == (12_000, 4_000)
    assert questions.synthesize.speak == ("human",)
    assert answers.synthesize.styles == recipe.synthesize.styles
    same = {"diarize", "transcribe", "quality", "select", "pair_turns", "vocabulary"}
    for each in (questions, answers):
        assert each.content() | {key: recipe.content()[key] for key in same} == each.content()


def test_held_out_questions_are_apart_and_their_own_answers_are_right(talk):
    rows = [json.loads(line) for line in (talk / "held-out.jsonl").read_text().splitlines()]
    assert len(rows) == 1_000
    assert all(is_held_out(row["unit"]) for row in rows)
    assert all(right(row, row["messages"][-1]["content"]) for row in rows)
    trained = {json.loads(line)["unit"] for line in (talk / "conversations.jsonl").read_text().splitlines()}
    assert trained & {row["unit"] for row in rows} == set()


def test_prompts_are_questions_of_the_training_none_of_which_is_held_out(talk):
    rows = [json.loads(line) for line in (talk / "prompts.jsonl").read_text().splitlines()]
    trained = [json.loads(line) for line in (talk / "conversations.jsonl").read_text().splitlines()]
    assert len(rows) == 1_000
    assert rows == [row for row in trained if len(row["messages"]) == 2][:1_000]
    assert not any(is_held_out(row["unit"]) for row in rows)


def test_prompts_and_held_out_questions_are_what_align_reads(talk):
    (talk / "align.yaml").write_text(
        "{name: a, checkpoint: ., prompts: {benchmark: prompts.jsonl}, evaluate: {benchmark: held-out.jsonl}}"
    )
    align = load_align(str(talk / "align.yaml"))
    held_out = held_out_of(align)
    prompts, left_out = prompts_of(align, held_out)
    assert (len(prompts.rows), left_out, prompts.refused) == (1_000, 0, ())
    assert len(held_out.rows) == 306  # as docs/talk.md says
    assert {row.dimension for row in held_out.rows} == {row.dimension for row in prompts.rows} == set(OPENING)


def test_the_training_is_of_the_dataset_that_the_recipe_builds(talk):
    data, training = load(talk / "recipe.yaml"), load_training(str(talk / "train.yaml"))
    assert f"file://{training.dataset}" == f"{data.output}/{data.name}@latest"
    trained = {family for stage in training.stages.values() for family in stage.families}
    assert trained == {*data.compose.families, "preference"}
    plan = plan_of(training, (), None, "h100", 0.4)
    assert [stage.stage for stage in plan.stages] == ["pretrain1", "pretrain2", "sft1", "sft2", "dpo"]


def test_the_model_has_five_to_twelve_million_parameters():
    vocabulary = Vocabulary.embedded(resolve("package:talk-tokenizer").path)
    count, _ = parameters(PRESETS["talk"].with_vocabulary(vocabulary.size))
    assert 5_000_000 < count < 12_000_000
    assert 2 * count < 25_000_000  # bytes in half precision


def test_a_folder_with_a_recipe_is_left_as_it_is(talk):
    before = (talk / "conversations.jsonl").stat().st_mtime_ns
    assert CliRunner().invoke(root, ["init", "--talk", str(talk)]).exit_code != 0
    assert (talk / "conversations.jsonl").stat().st_mtime_ns == before
