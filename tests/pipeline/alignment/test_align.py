"""`aqaa-data align` with a tiny model of random weights. What it says is heard as it is written: hearing is
tested elsewhere."""

import json
import shutil

import pytest
import yaml

from pipeline.alignment.loop import AlignLoop
from pipeline.alignment.recipe import load
from pipeline.alignment.round import RoundOutcome
from pipeline.evaluation.answers.ears import SILENCE, Heard
from pipeline.rating.tasks import read_tasks
from pipeline.versions.gc import uses
from pipeline.versions.reader import Reference, open_version
from pipeline.versions.samples import samples
from schemas.errors import SetupError
from tests.pipeline.tiny_models import change_vocabulary

QUESTIONS = ("What is new?", "Who is there?", "Where is it?", "When is lunch?", "Why not?", "How far is it?")


class Echo:
    """Hears what is written."""

    def __init__(self, emotions=None):
        assert emotions is None

    def hear(self, answer, parts):
        if answer.samples is None:
            return SILENCE
        return Heard(answer.text, "en", 1.0, len(answer.samples) / answer.rate, 1.0, 0.0)

    def about(self):
        return {"echo": "0"}


def row(id, text, **changes):
    """Passes if the answer is short; random answers differ in that."""
    checks = [{"kind": "length", "at_most": 9}, {"kind": "length", "at_most": 11}]
    return {"id": id, "dimension": "gaming", "turns": [{"text": text}], "checks": checks} | changes


def write(file, rows):
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(file)


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_recipe(folder, model, voice, **changes):
    """A recipe of one round; the model is a copy."""
    model = shutil.copytree(model, folder / "start" / "model", dirs_exist_ok=True)
    unjudged = row("unjudged", "Anything else?", checks=[])
    prompts = [row(f"p{n}", text) for n, text in enumerate(QUESTIONS)]
    content = {
        "name": "loop",
        "output": "runs",
        "checkpoint": str(model),
        "vocoder": str(voice),
        "rounds": 1,
        "prompts": {"benchmark": write(folder / "prompts.jsonl", [*prompts, unjudged])},
        "candidates": {"max_tokens": 30},
        "margin": 0.5,
        "deaf": 1,
        "dpo": {
            "steps": 2,
            "sequence_length": 512,
            "global_batch_size": 2,
            "precision": "float32",
            "learning_rate": 1e-4,
        },
        "evaluate": {
            "benchmark": write(folder / "held-out.jsonl", [row(f"h{n}", f"And {n}?") for n in range(3)]),
            "max_tokens": 30,
        },
    }
    file = folder / "align.yaml"
    file.write_text(yaml.safe_dump(content | changes))
    return file


@pytest.fixture(scope="module", autouse=True)
def _echo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.alignment.judging.Ears", Echo)
        patch.setattr("pipeline.evaluation.answers.run.Ears", Echo)
        yield


@pytest.fixture(scope="module")
def looped(tiny_checkpoint, vocoder, tmp_path_factory):
    """A loop that ran without a stop: its recipe, and its result."""
    file = write_recipe(tmp_path_factory.mktemp("align"), tiny_checkpoint, vocoder)
    return file, AlignLoop(load(str(file))).run()


@pytest.fixture
def recipe(tiny_checkpoint, vocoder, tmp_path):
    return lambda **changes: write_recipe(tmp_path, tiny_checkpoint, vocoder, **changes)


class TestARound:
    def test_all_candidates_of_the_prompts_that_rules_can_judge_are_judged(self, looped):
        file, result = looped
        judged = lines_of(file.parent / "runs" / "loop" / "round-1" / "judged.jsonl")
        assert [each["candidates"]["id"] for each in judged] == [f"p{n}" for n in range(6)]
        assert all(list(each["scores"]) == [f"seed-{n}" for n in range(4)] for each in judged)
        assert result.rounds[1].pairs.prompts == 6

    def test_the_best_answer_is_paired_with_the_worst_and_with_deafness(self, looped):
        file, result = looped
        judged = lines_of(file.parent / "runs" / "loop" / "round-1" / "judged.jsonl")
        scores = {each["candidates"]["id"]: each["scores"] for each in judged}
        pairs = [
            each.record for each in samples(open_version(Reference.parse(result.rounds[1].pairs.version)))
        ]
        assert len(pairs) == result.rounds[1].pairs.pairs
        deaf = [pair for pair in pairs if pair["preference"]["rejected"] == "deaf"]
        assert len(deaf) == sum(max(own.values()) > 0 for own in scores.values())
        assert all(pair["source"]["prompt"].endswith("-deaf") for pair in deaf)
        others = [pair for pair in pairs if pair not in deaf]
        assert others
        for pair in others:
            own, both = scores[pair["source"]["prompt"]], pair["preference"]
            assert own[both["chosen"]] == max(own.values())
            assert own[both["rejected"]] == min(own.values()) < max(own.values())

    def test_the_lineage_leads_from_the_model_to_its_parents_and_pairs(self, looped):
        file, result = looped
        folder, (start, first) = file.parent / "runs" / "loop" / "round-1", result.rounds
        run = json.loads((folder / "dpo" / "run.json").read_text())
        assert (run["parent"], first.start) == (start.model, start.model)
        merged = json.loads((folder / "merge" / "model" / "merge.json").read_text())
        parents = [each["directory"] for each in merged["inputs"]]
        assert parents == [start.model, str(folder / "dpo" / "model")]
        version = open_version(Reference.parse(first.pairs.version))
        assert {use["kind"] for use in uses(version.store, version.id)} == {"training", "evaluation"}
        assert "held-out.jsonl@" in (folder / "merge" / "model" / "README.md").read_text()

    def test_people_can_rate_and_hear_the_candidates(self, looped):
        file, _ = looped
        tasks, unused = read_tasks(
            [file.parent / "runs" / "loop" / "round-1" / "candidates.jsonl"], choose=False
        )
        assert (len(tasks), unused) == (24, [])
        assert all(task.question and task.question.exists() for task in tasks)
        assert all(answer.audio and answer.audio.exists() for task in tasks for answer in task.answers)

    def test_rows_that_are_no_prompts_are_told(self, recipe, monkeypatch):
        file, said = recipe(), []
        with (file.parent / "prompts.jsonl").open("a") as prompts:
            prompts.write('{"id": "p9"}\n')
        monkeypatch.setattr("pipeline.alignment.loop.evaluated", lambda *_: outcomes(0.5)[0])
        monkeypatch.setattr("pipeline.alignment.judging.open_answerer", lambda model: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            AlignLoop(load(str(file)), said.append).run()
        assert any(line.startswith("left out: prompts.jsonl:8: ") for line in said)


class TestAgain:
    def test_a_loop_that_is_done_does_nothing(self, looped, command):
        file, result = looped
        done = command("align", file, "--json")
        assert json.loads(done.stdout) == json.loads(json.dumps(result.as_json()))
        assert "prompts" not in done.stderr

    def test_a_loop_that_is_stopped_anywhere_ends_as_one_that_is_not(self, looped, recipe, monkeypatch):
        file = recipe()
        folder = file.parent / "runs" / "loop"

        def stopped(*_):
            raise KeyboardInterrupt

        steps = ("judging.sample_candidates", "round.build_pairs", "round.train", "round.evaluate_answers")
        for step in ("round.evaluate_answers", *steps):
            with monkeypatch.context() as patch:
                patch.setattr(f"pipeline.alignment.{step}", stopped)
                with pytest.raises(KeyboardInterrupt):
                    AlignLoop(load(str(file))).run()
            if step == "round.build_pairs":  # as if it had been killed while it wrote the third prompt
                judged = folder / "round-1" / "judged.jsonl"
                lines = judged.read_text().splitlines(keepends=True)
                judged.write_bytes("".join([*lines[:2], lines[2][:50], "é"]).encode()[:-1])
        result = AlignLoop(load(str(file))).run()
        _, whole = looped
        assert [each.rules for each in result.rounds] == [each.rules for each in whole.rounds]
        assert result.rounds[1].pairs.pairs == whole.rounds[1].pairs.pairs
        weights = [
            each / "round-1" / "merge" / "model" / "model.safetensors"
            for each in (folder, looped[0].parent / "runs" / "loop")
        ]
        assert weights[0].read_bytes() == weights[1].read_bytes()

    def test_other_settings_are_refused_and_more_rounds_are_not(self, looped, command):
        file, _ = looped
        done = command("align", file, "--set", "deaf=0.1")
        assert done.code == 1
        assert "its deaf is 1.0, not 0.1" in done.stderr
        shown = json.loads(command("align", file, "--set", "rounds=5", "--dry-run", "--json").stdout)
        assert (shown["rounds"], shown["rounds_done"]) == (5, 1)
        assert (shown["prompts"], shown["prompts_left_out"], shown["answers_per_round"]) == (6, 1, 24)

    def test_rounds_that_would_be_judged_by_other_questions_are_refused(self, looped, command):
        file, _ = looped
        held_out = file.parent / "held-out.jsonl"
        rows = held_out.read_text()
        try:
            write(held_out, [row("h0", "And what else?")])
            done = command("align", file, "--set", "rounds=2")
        finally:
            held_out.write_text(rows)
        assert done.code == 1
        assert "its held_out_version is" in done.stderr


class TestPeople:
    def test_their_ratings_stand_in_for_the_rules(self, recipe, command, tmp_path):
        file = recipe(deaf=0)
        done = command("align", file, "--sample-only", "--json")
        assert done.code == 0, done.stderr
        assert "waits for `aqaa-data rate`" in json.loads(done.stdout)["ended"]
        round_one = tmp_path / "runs" / "loop" / "round-1"
        scores = {each["candidates"]["id"]: each["scores"] for each in lines_of(round_one / "judged.jsonl")}
        worst = {id: min(own, key=own.get) for id, own in scores.items()}
        rated = [
            {"prompt": id, "answer": answer, "rater": "ann", "score": 5 if answer == worst[id] else 1}
            for id, own in scores.items()
            for answer in own
        ]
        ratings = write(tmp_path / "people.jsonl", rated)
        done = command("align", file, "--set", f"ratings=[{ratings}]", "--json")
        assert done.code == 0, done.stderr
        _, first = json.loads(done.stdout)["rounds"]
        version = open_version(Reference.parse(first["pairs"]["version"]))
        chosen = {
            each.record["source"]["prompt"]: each.record["preference"]["chosen"] for each in samples(version)
        }
        assert chosen == worst

    def test_they_can_give_pairs_to_a_round_that_the_rules_gave_none(self, recipe, command, tmp_path):
        file = recipe(deaf=0)
        easy = [{"kind": "length", "at_most": 900}]
        write(
            tmp_path / "prompts.jsonl", [row(f"p{n}", text, checks=easy) for n, text in enumerate(QUESTIONS)]
        )
        done = command("align", file, "--json")
        assert done.code == 0, done.stderr
        assert json.loads(done.stdout)["ended"].startswith("round 1 has no pairs")
        rated = [
            {"prompt": f"p{n}", "answer": f"seed-{seed}", "rater": "ann", "score": 5 - seed}
            for n in range(len(QUESTIONS))
            for seed in range(4)
        ]
        ratings = write(tmp_path / "people.jsonl", rated)
        done = command("align", file, "--set", f"ratings=[{ratings}]", "--json")
        assert done.code == 0, done.stderr
        assert json.loads(done.stdout)["rounds"][1]["pairs"]["pairs"] == len(QUESTIONS)

    @pytest.mark.parametrize(
        ("content", "told"),
        [(None, "no such file"), ('{"prompt": "p1", "score": 9}\n', r"`ratings`: people\.jsonl:1: ")],
    )
    def test_ratings_that_cannot_be_read_are_told_before_anything_is_sampled(
        self, recipe, tmp_path, content, told
    ):
        if content is not None:
            (tmp_path / "people.jsonl").write_text(content)
        with pytest.raises(SetupError, match=told):
            AlignLoop(load(str(recipe(ratings=["people.jsonl"]))))


def outcomes(*scores):
    return [RoundOutcome(n, f"m{n}", "", score, (0, 1), {}) for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "taken", "best"),
    [((0.2, 0.5, 0.4, 0.9), 3, 1), ((0.2, 0.2, 0.3, 0.3), 4, 2), ((0.5, 0.4), 2, 0)],
)
def test_it_ends_when_the_evaluation_falls_and_keeps_the_best(
    looped, monkeypatch, tmp_path, scores, taken, best
):
    start, *rounds = outcomes(*scores)

    class Planned:
        def __init__(self, recipe, prompts, number, *_):
            self.outcome = rounds[number - 1]

        def finish(self, sample_only):
            return self.outcome

    monkeypatch.setattr("pipeline.alignment.loop.AlignRound", Planned)
    monkeypatch.setattr("pipeline.alignment.loop.evaluated", lambda *_: start)
    loop = load(str(looped[0]), [f"rounds={len(rounds)}"], str(tmp_path))
    result = AlignLoop(loop).run()
    assert (len(result.rounds), result.best.number) == (taken, best)
    assert ("fell" in result.ended) == (taken < len(scores) or scores[-1] < max(scores))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"checkpoint": "./nowhere"}, r"nowhere is no model: it has no config\.json"),
        ({"evaluate": {"benchmark": "prompts.jsonl"}}, "questions of `prompts` are also asked by `evaluate`"),
        ({"vocoder": "nowhere"}, "`vocoder`: .*nowhere is no vocoder"),
        ({"dpo": {"start": "sft1"}}, "`dpo.start` is set by each round: remove it"),
        ({"rounds": 0}, "`rounds`"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_sampled(recipe, changes, told):
    with pytest.raises(SetupError, match=told):
        AlignLoop(load(str(recipe(**changes))))


def test_held_out_questions_that_nothing_judges_are_refused(recipe, tmp_path):
    file = recipe()
    write(tmp_path / "held-out.jsonl", [row("h", "Well?", checks=[])])
    with pytest.raises(SetupError, match=r"no row of .* has a check or a `reference`, so rounds can't be"):
        AlignLoop(load(str(file)))


def test_an_output_that_is_a_file_is_told(recipe, command):
    file = recipe()
    done = command("align", file, "--output", file)
    assert done.code == 1
    assert "Not a directory" in done.stderr


def test_places_are_beside_the_recipe(recipe, tmp_path):
    loaded = load(str(recipe(prompts={"benchmark": "folder"}, evaluate={"benchmark": "builtin"})))
    assert loaded.prompts.benchmark == str(tmp_path / "folder")
    assert loaded.evaluate.benchmark == "builtin"


def test_a_model_that_writes_nothing_is_refused(recipe, tmp_path):
    file = recipe()
    change_vocabulary(
        tmp_path / "start" / "model", lambda ids: ids["made_by"]["interleave"].update(mode="audio_only")
    )
    with pytest.raises(SetupError, match="answers in audio only"):
        AlignLoop(load(str(file)))


def test_prompts_that_nothing_judges_are_refused(recipe, tmp_path):
    file = recipe()
    write(tmp_path / "prompts.jsonl", [row("p", "Hello?", checks=[])])
    with pytest.raises(SetupError, match=r"no row of .* has a check or a `reference` for its first answer"):
        AlignLoop(load(str(file)))
