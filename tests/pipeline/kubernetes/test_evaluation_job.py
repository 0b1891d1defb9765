"""Submitting an evaluation: the same options as on this machine, in one pod with a GPU."""

import json
import shutil

import pytest
import yaml

from tests.paths import ROOT

RECIPE = """
name: omni
answers:
  models: [/runs/omni/sft1/model, /runs/omni/merge/model, "cascade:http://server/v1#qwen"]
  benchmark: s3://b/benchmark
  out: /runs/evaluations/omni
  limit: 5
  emotions: hub:org/emotions
"""
DONE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "message": "Job finished."}
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}


@pytest.fixture
def recipe(tmp_path):
    def written(text=RECIPE):
        (tmp_path / "answers.yaml").write_text(text)
        return tmp_path / "answers.yaml"

    return written


@pytest.fixture
def submit(command):
    def run(recipe, *options):
        return command("submit", recipe, "--overlay", "h100-evaluate", "--image", "mine/x:1", *options)

    return run


def test_an_evaluation_is_submitted_and_followed_to_its_end(submit, recipe, api):
    api.statuses = [{}, RUNNING, DONE]
    done = submit(recipe(), "--set", "answers.limit=2", "--json")
    assert done.code == 0, done.stderr
    assert yaml.safe_load(done.stdout)["job"] == "aqaa-data-evaluate-omni"
    objects = {(each["kind"], each["metadata"]["name"]): each for each in api.objects.values()}
    job = objects["RayJob", "aqaa-data-evaluate-omni"]["spec"]
    assert job["entrypoint"] == "aqaa-data evaluate answers --recipe /recipe/recipe.yaml"
    cluster = job["rayClusterSpec"]
    assert not cluster["workerGroupSpecs"], "models answer in the process that the job runs"
    (container,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert (container["image"], container["resources"]["limits"]["nvidia.com/gpu"]) == ("mine/x:1", "1")
    there = yaml.safe_load(objects["ConfigMap", "aqaa-data-evaluate-omni-recipe"]["data"]["recipe.yaml"])
    wanted = yaml.safe_load(RECIPE)
    assert there == wanted | {"answers": wanted["answers"] | {"limit": 2}}


def test_tokens_are_evaluated_by_their_own_command(submit, recipe):
    tokens = {"inputs": ["s3://b/datasets/calls@latest"], "report": "/runs/calls.html", "perplexity": True}
    text = yaml.safe_dump({"name": "calls", "tokens": tokens})
    done = submit(recipe(text), "--set", "tokens.steps=50", "--dry-run", "--json")
    assert done.code == 0, done.stderr
    *others, job = json.loads(done.stdout)["resources"]
    assert job["metadata"]["name"] == "aqaa-data-evaluate-calls"
    assert job["spec"]["entrypoint"] == "aqaa-data evaluate tokens --recipe /recipe/recipe.yaml"
    (there,) = [yaml.safe_load(each["data"]["recipe.yaml"]) for each in others if each["kind"] == "ConfigMap"]
    assert there == {"name": "calls", "tokens": tokens | {"steps": 50}}


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ({"inputs": ["datasets/calls@latest"]}, "tokens.inputs: datasets/calls@latest is on this machine"),
        ({"inputs": "s3://b/x.wav", "report": "a.html"}, "tokens.report: a.html is on this machine"),
        ({"inputs": "s3://b/x.wav", "tokenizer": "books"}, "tokens.tokenizer: books is on this machine"),
        (
            {"inputs": "s3://b/x.wav", "tokenizer": "file:/home/me/books"},
            "tokens.tokenizer: /home/me/books is on this machine",
        ),
        ({"inputs": "whisper"}, "tokens.inputs: whisper is on this machine"),
        ({"input": ["s3://b/x.wav"]}, "unknown key `tokens.input`; did you mean `inputs`?"),
    ],
)
def test_tokens_that_the_cluster_cannot_read_are_refused(submit, recipe, tokens, told):
    done = submit(recipe(yaml.safe_dump({"name": "calls", "tokens": tokens})), "--dry-run")
    assert done.code == 1
    assert told in done.stderr


def test_options_of_an_overlay_are_not_given_to_another_command(command, recipe, tmp_path):
    overlay = tmp_path / "infra" / "overlays" / "mine"
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    shutil.copytree(overlay.with_name("h100-evaluate"), overlay)
    patch = overlay / "evaluation.yaml"
    patch.write_text(patch.read_text().replace("/recipe/recipe.yaml", "/recipe/recipe.yaml --judge rules"))
    text = yaml.safe_dump({"name": "calls", "tokens": {"inputs": ["s3://b/datasets/calls"]}})
    assert command("submit", recipe(), "--overlay", overlay, "--dry-run").code == 0
    refused = command("submit", recipe(text), "--overlay", overlay, "--dry-run")
    assert "whose options `evaluate tokens` may not have" in refused.stderr


def test_the_command_for_tokens_takes_its_inputs_from_the_recipe(command, recipe, tmp_path):
    missing = str(tmp_path / "missing.wav")
    text = yaml.safe_dump({"name": "calls", "tokens": {"inputs": missing, "limit": None}})
    assert missing in command("evaluate", "tokens", "--recipe", recipe(text)).stderr
    given = command("evaluate", "tokens", "--recipe", recipe(text), str(tmp_path / "other.wav"))
    assert "other.wav" in given.stderr, "inputs that are given come before the recipe's"
    assert "missing.wav" not in given.stderr


def test_an_evaluation_that_fails_is_told(submit, recipe, api):
    api.statuses = [RUNNING, DONE | {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}]
    done = submit(recipe())
    assert done.code == 1
    assert "run the same command again to resume" in done.stderr


def test_the_command_takes_its_options_from_the_recipe(command, recipe, tmp_path):
    models = [str(tmp_path / name) for name in ("early", "late")]
    text = yaml.safe_dump({"name": "omni", "answers": {"models": models, "limit": 3}})
    assert f"{models[0]} is not a model" in command("evaluate", "answers", "--recipe", recipe(text)).stderr
    given = command("evaluate", "answers", "--recipe", recipe(text), "--model", "other")
    assert "other is not a model" in given.stderr, "an option that is given comes before the recipe's"
    wrong = command("evaluate", "answers", "--recipe", recipe(text.replace("limit: 3", "limit: few")))
    assert wrong.code == 2
    assert "Invalid value for '--limit': 'few' is not a valid integer" in wrong.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("/runs/evaluations/omni", "here", "answers.out: here is on this machine"),
        ("  out: /runs/evaluations/omni\n", "", "answers.out: evaluation is on this machine"),
        ("/runs/omni/sft1", "/home/me", "answers.models: /home/me/model is on this machine"),
        ("s3://b/benchmark", "rows.jsonl", "answers.benchmark: rows.jsonl is on this machine"),
        ("limit: 5", "limits: 5", "answers.yaml:7: unknown key `answers.limits`; did you mean `limit`?"),
        ("name: omni", "nme: omni", "has a `name`, and its options under `answers`"),
    ],
)
def test_what_cannot_run_on_the_cluster_is_refused_before_anything_is_sent(
    submit, recipe, api, old, new, told
):
    assert old in RECIPE
    done = submit(recipe(RECIPE.replace(old, new)))
    assert done.code == 1
    assert told in done.stderr
    assert api.seen == []


def test_it_needs_an_overlay_that_evaluates(command, recipe):
    done = command("submit", recipe(), "--overlay", "h100-train", "--dry-run")
    assert "this recipe is for `aqaa-data evaluate`: name another overlay" in done.stderr
