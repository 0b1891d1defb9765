"""`aqaa-data ablate` on a small annotation. What the models say is heard as it is written: hearing is tested
elsewhere."""

import json

import pytest
import yaml

from pipeline.ablation.cell import CellRun
from pipeline.ablation.codebooks import CodebooksTable
from pipeline.ablation.recipe import load
from pipeline.ablation.run import Ablation
from pipeline.evaluation.answers.ears import SILENCE, Heard
from pipeline.versions.gc import uses
from pipeline.versions.reader import Reference, open_version, tags_of
from schemas.errors import SetupError
from tests.pipeline.training.chains import RECIPE, dataset

PAPER = {"chat": 4.03, "relevance": 0.65}
PLAIN = {"title": "Plain", "cells": [{"name": "a"}]}
ROWS = [
    {
        "id": f"r{n}",
        "dimension": "gaming",
        "turns": [{"text": text}],
        "checks": [{"kind": "contains", "any": ["the", "take", "we", "bread"]}],
    }
    for n, text in enumerate(("When does the ferry leave?", "Which road is it?"))
]


class Echo:
    """Hears what is written."""

    def __init__(self, emotions=None):
        assert emotions is None

    def hear(self, answer, parts):
        if answer.samples is None:
            return SILENCE
        return Heard(answer.text, "en", 1.0, len(answer.samples) / answer.rate, 1.0, 0.1)

    def about(self):
        return {"echo": "0"}


@pytest.fixture(scope="module", autouse=True)
def _echo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.evaluation.answers.run.Ears", Echo)
        yield


def cell(name, ratio=(10, 15), **more):
    return {"name": name, "build": {"interleave": {"ratio": list(ratio)}}, **more}


def write(folder, given, vocoder, **changes):
    """Recipes for `given`, an annotated dataset, with two tables of two cells."""
    (folder / "bench.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    training = {"name": "small", "dataset": "given", "sft1": {"families": ["aqtaa"], "steps": 4}}
    training |= {name: RECIPE[name] for name in ("backbone", "train")}
    (folder / "train.yaml").write_text(yaml.safe_dump(training))
    order = {
        "title": "Order",
        "note": "Not much can be read.",
        "cells": [cell("ten", title="10:15", paper=PAPER), cell("three", (3, 5))],
    }
    dpo = {"steps": 2, "learning_rate": 1e-3}
    shares = {"cell": "ten", "stages": ["sft1"]}
    loss = {
        "title": "Loss",
        "cells": [
            cell("masked", train={"dpo": dpo}, shares=shares),
            cell("open", train={"dpo": dpo | {"preference": {"mask_audio": False}}}, shares=shares),
        ],
    }
    content = {
        "name": "little",
        "output": "runs",
        "build": str(given.parent.parent / "recipe.yaml"),
        "train": "./train.yaml",
        "evaluate": {"benchmark": "bench.jsonl", "max_tokens": 30, "vocoder": str(vocoder)},
        "tables": [order, loss],
    }
    file = folder / "ablate.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in (content | changes).items() if v is not None}))
    return file


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("ablations"))


@pytest.fixture(scope="module")
def ablated(given, vocoder, tmp_path_factory):
    """An ablation that ran without a stop: its recipe, its folder and its result."""
    folder = tmp_path_factory.mktemp("ablated")
    file = write(folder, given, vocoder)
    return file, folder / "runs" / "little", Ablation(load(str(file))).run()


@pytest.fixture
def recipe(given, vocoder, tmp_path):
    return lambda **changes: write(tmp_path, given, vocoder, **changes)


def test_the_tables_have_intervals_beside_the_papers_numbers(ablated):
    _, folder, result = ablated
    order, loss = result.tables
    head, ten, three = order.cells()
    assert head == ["cell", "rules", "word_errors", "grammar", "paper: chat", "paper: relevance"]
    assert ten[0] == "10:15"
    assert ten[-2:] == ["4.03", "0.65"]
    assert three[-2:] == ["", ""]
    for row in (*order.rows, *loss.rows):
        assert row.done
        for estimate in row.measured.values():
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
            assert estimate.utterances == 2
    text = (folder / "tables.md").read_text()
    assert "## Order" in text
    assert "Not much can be read." in text
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(result.as_json()))


def test_each_cell_has_its_lineage(ablated):
    _, folder, _ = ablated
    versions = {}
    for name in ("ten", "three", "masked", "open"):
        outcome = json.loads((folder / name / "seed-0" / "cell.json").read_text())
        versions[name] = outcome["version"]
        version = open_version(Reference.parse(outcome["version"]))
        kinds = {use["kind"] for use in uses(version.store, version.id)}
        assert kinds == {"training", "evaluation"}
        last = "dpo" if name in ("masked", "open") else "sft1"
        run = json.loads((folder / name / "seed-0" / "small" / last / "run.json").read_text())
        assert (run["version"], outcome["steps"]["sft1"]) == (version.id, 4)
    assert versions["ten"] == versions["masked"] == versions["open"] != versions["three"]


def test_a_stage_that_cells_share_is_trained_once(ablated):
    _, folder, _ = ablated
    ten, masked = (folder / name / "seed-0" / "small" / "sft1" for name in ("ten", "masked"))
    assert masked.is_symlink()
    assert masked.resolve() == ten.resolve()
    weights = [
        (folder / name / "seed-0" / "small" / "dpo" / "model" / "model.safetensors").read_bytes()
        for name in ("masked", "open")
    ]
    assert weights[0] != weights[1]


def test_no_tag_is_moved(ablated, given):
    _, folder, _ = ablated
    outcome = json.loads((folder / "three" / "seed-0" / "cell.json").read_text())
    version = open_version(Reference.parse(outcome["version"]))
    assert tags_of(version.store)["latest"] == open_version(Reference.parse(str(given))).id != version.id


def test_an_ablation_that_is_done_does_nothing(ablated, command):
    file, _, result = ablated
    done = command("ablate", file, "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(result.as_json()))
    assert "training on" not in done.stderr
    shown = json.loads(command("ablate", file, "--dry-run", "--json").stdout)
    assert shown["cells"]["three"]["seeds_done"] == [0]
    printed = command("ablate", file)
    assert "Not much can be read." in printed.stdout


def test_cells_can_be_finished_one_by_one_and_what_is_not_is_told(recipe, command, monkeypatch):
    file = recipe(codebooks=None)
    early = command("ablate", file, "--cell", "masked")
    assert early.code == 1
    assert "cell masked shares sft1 of ten, which has not trained it: finish that cell first" in early.stderr
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.ablation.cell.evaluate_answers", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            command("ablate", file, "--cell", "ten")
    done = command("ablate", file, "--cell", "ten", "--json")
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["waiting"] == ["three", "masked", "open"]
    assert [row["done"] for row in result["tables"][0]["rows"]] == [True, False]
    other = command("ablate", file, "--cell", "ten", "--set", "evaluate.max_tokens=20")
    assert other.code == 1
    assert "its evaluate.max_tokens is 30, not 20" in other.stderr
    (file.parent / "bench.jsonl").write_text(f"{json.dumps(ROWS[0])}\n")
    fewer = command("ablate", file, "--cell", "ten")
    assert fewer.code == 1, "cells that answer other questions can't be compared"
    assert "its benchmark_version is" in fewer.stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset": "given"}, "name either `build` or `dataset`"),
        ({"shared": {"train": {"sft1": {"steps": None}}}}, "cell ten: sft1 has no `steps`"),
        ({"shared": {"build": {"interleave": {"ratios": [1, 5]}}}}, r"cell ten: .*did you mean `ratio`\?"),
        ({"tables": [{"title": "t", "cells": [cell("a"), cell("a")]}]}, "two cells are named a"),
        (
            {"tables": [{"title": "t", "cells": [cell("a", shares={"cell": "b", "stages": ["sft1"]})]}]},
            "a shares stages of b, which is no cell before it",
        ),
        (
            {
                "tables": [
                    PLAIN,
                    {"title": "t", "cells": [cell("b", shares={"cell": "a", "stages": ["stf1"]})]},
                ]
            },
            "cell b: `shares` names stf1, but its training has only sft1",
        ),
        ({"evaluate": {"benchmark": "nowhere.jsonl"}}, "nowhere.jsonl"),
        ({"evaluate": {"vocoder": "nowhere"}}, "`vocoder`: .*nowhere is no vocoder"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_packed(recipe, changes, told):
    with pytest.raises(SetupError, match=told):
        Ablation(load(str(recipe(**changes))))


def test_the_codebooks_stay_in_the_tables_when_other_cells_are_finished(recipe, monkeypatch):
    monkeypatch.setattr(Ablation, "_packed", lambda self, names: {name: f"set@{name}" for name in names})
    monkeypatch.setattr(CellRun, "finish", lambda *_: None)
    monkeypatch.setattr(
        CodebooksTable, "_computed", lambda config, version, say: CodebooksTable(version, 5, 0, "", ())
    )
    ablation = Ablation(load(str(recipe(codebooks={"steps": 5}))))
    assert ablation.run(["three"]).codebooks is None
    assert ablation.run(["ten"]).codebooks.version == "set@ten"
    assert ablation.run(["three"]).codebooks.version == "set@ten"
    assert "Two codebooks" in (ablation.folder / "tables.md").read_text()


def test_an_output_that_is_a_file_is_told(recipe, command):
    file = recipe()
    done = command("ablate", file, "--output", file)
    assert done.code == 1
    assert "Not a directory" in done.stderr


def test_places_are_beside_the_recipe(recipe, tmp_path):
    evaluate = {"benchmark": "folder", "vocoder": "voice"}
    loaded = load(str(recipe(build="calls.yml", train="small.yml", evaluate=evaluate)))
    found = (loaded.build, loaded.train, loaded.evaluate.benchmark, loaded.evaluate.vocoder)
    assert found == tuple(str(tmp_path / name) for name in ("calls.yml", "small.yml", "folder", "voice"))
    named = load(str(recipe(build=None, dataset="calls@best", evaluate={}, tables=[PLAIN])))
    assert (named.dataset, named.evaluate.benchmark) == ("calls@best", "builtin")


def test_a_version_can_be_trained_in_many_ways(recipe, given):
    cells = [{"name": "a"}, {"name": "b", "train": {"sft1": {"steps": 2}}}]
    file = recipe(build=None, dataset=str(given), tables=[{"title": "t", "cells": cells}])
    ablation = Ablation(load(str(file)))
    assert [run.training("given").stages["sft1"].steps for run in ablation.runs.values()] == [4, 2]
    with pytest.raises(SetupError, match="c has settings of a build, but `dataset` names a finished version"):
        load(str(recipe(build=None, dataset=str(given), tables=[{"title": "t", "cells": [cell("c")]}])))
