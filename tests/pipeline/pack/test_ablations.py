"""The recipes of the paper's ablations and stages, packed from the same annotations without a model."""

import json
import shutil
from io import BytesIO

import numpy as np
import pytest
import webdataset

from pipeline.ablation.recipe import load as load_ablation
from pipeline.annotate.run import pending
from pipeline.config.recipe import load
from pipeline.planning.plan import make_plan
from schemas.layout import read
from tests.paths import ROOT
from tests.pipeline.annotations import packed

RECIPES = ROOT / "pipeline" / "recipes"
RATIOS = ("audio-only", "ratio-6-50", "ratio-3-5", "text-first", "ratio-10-15")
CONCATENATIONS = ("marker-preserving", "marker-removal", "pre-interleaved")
ANNOTATED_WITH = ("name=small", "units={recordings: 4}", "transcribe.model=package:whisper-tiny-en")


@pytest.fixture(scope="module")
def output(small_build, tmp_path_factory):
    return shutil.copytree(small_build.output, tmp_path_factory.mktemp("ablations") / "out")


@pytest.fixture(scope="module")
def answers(small_build, output, vocabulary):
    """Ablation -> key of a sample without its family -> ids and text of the answer."""
    answers_by_name = {}
    for name in (*RATIOS, *CONCATENATIONS):
        settings = [*ANNOTATED_WITH, "compose.labels={turns_min: 2, rate_factor: 1.02}"]
        recipe = load(
            RECIPES / "ablations" / f"{name}.yaml", settings, [str(small_build.inputs)], str(output)
        )
        plan = make_plan(recipe)
        assert pending(plan, retry=False) == []
        manifest = packed(plan)
        folder = plan.dataset.directory / "versions" / manifest.version / "shards"
        answers_by_name[name] = {}
        for sample in webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False):
            tokens = np.load(BytesIO(sample["tokens.npy"]))
            learnt = tokens[np.load(BytesIO(sample["loss.npy"])) == 1].tolist()
            answers_by_name[name][sample["__key__"]] = (
                learnt,
                read(tokens, vocabulary)[-1],
                json.loads(sample["json"]),
            )
    return answers_by_name


def test_eight_recipes_are_bundled_and_the_tables_have_them_as_cells():
    files = {path.stem: path for path in (RECIPES / "ablations").glob("*.yaml")}
    paper = load_ablation(str(files.pop("paper")))
    assert files.keys() == {*RATIOS, *CONCATENATIONS}
    cells = {cell.name: cell for cell in paper.cells}
    for name, file in files.items():
        settings = (*paper.shared.build_settings, *cells[name].build_settings)
        as_cell = load(str(paper.build), settings)
        assert as_cell.interleave == load(file).interleave
        assert as_cell.compose.families == load(file).compose.families


def test_every_ratio_lays_out_the_same_answers(answers):
    keys = answers["ratio-10-15"].keys()
    assert keys
    for name in RATIOS:
        assert answers[name].keys() == keys
    for key in keys:
        texts = {answers[name][key][1].text for name in RATIOS if name != "audio-only"}
        codes = {answers[name][key][1].codes for name in RATIOS}
        assert len(texts) == len(codes) == 1
        assert answers["audio-only"][key][1].text == ""


def test_the_ratios_match_their_names(answers, vocabulary):
    def kinds(name, key):
        ids = answers[name][key][0]
        return "".join("c" if kind else "t" for kind in vocabulary.modality(ids))

    key = max(answers["ratio-10-15"], key=lambda key: len(answers["ratio-10-15"][key][0]))
    # One id more than text: the marker before the first code.
    assert kinds("ratio-10-15", key).startswith("t" * 11 + "c" * 15 + "t" * 10)
    assert kinds("ratio-3-5", key).startswith("t" * 4 + "c" * 5 + "t" * 3 + "c" * 5)
    assert kinds("ratio-6-50", key).startswith("t" * 7 + "c" * 50 + "t")
    assert "ct" not in kinds("text-first", key).rstrip("t")
    assert kinds("audio-only", key).strip("t").count("t") == 0


def test_the_concatenations_keep_lose_or_split_the_voices(answers):
    keys = answers["marker-preserving"].keys()
    assert keys
    for key in keys:
        preserving, removal, before = (answers[name][key][1] for name in CONCATENATIONS)
        assert len(preserving.codes) == len(before.codes) == 2
        assert len(removal.codes) == 1
        assert preserving.codes == before.codes
        assert removal.codes[0].semantic == preserving.codes[0].semantic + preserving.codes[1].semantic
        assert preserving.text == removal.text == before.text


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*stage*.yaml")), ids=lambda path: path.stem)
def test_the_papers_stages_are_recipes(path):
    recipe = load(path)
    assert recipe.name == path.stem
    weights = recipe.mixture.weights
    if "pretraining" in path.stem:
        audio = sum(weight for family, weight in weights.items() if family != "replay")
        assert audio / weights["replay"] == pytest.approx(4 / 3 if path.stem.endswith("3") else 2)
