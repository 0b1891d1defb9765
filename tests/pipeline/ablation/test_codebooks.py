"""Two codebooks against one: computed once, kept, and never mixed with other settings."""

import numpy as np
import pytest

from pipeline.ablation import codebooks
from pipeline.ablation.codebooks import CodebooksTable
from pipeline.ablation.recipe import CodebooksConfig
from pipeline.evaluation.perplexity import CodedUtterance
from schemas.errors import SetupError


@pytest.fixture
def spoken(monkeypatch):
    """A version with four recordings of made-up codes."""
    rng = np.random.default_rng(0)

    def utterance(source):
        groups = np.concatenate([rng.integers(0, 40, (200, 2)), 1024 + rng.integers(0, 40, (200, 3))], axis=1)
        return CodedUtterance(source, groups.ravel().astype(np.int32))

    monkeypatch.setattr(codebooks, "open_version", lambda reference: None)
    found = [utterance(source) for source in "abcd"]
    monkeypatch.setattr(codebooks, "coded_utterances", lambda version, seed: found)


def test_the_table_is_computed_once_and_has_both_codebooks(spoken, tmp_path, monkeypatch):
    file, config = tmp_path / "codebooks.json", CodebooksConfig(steps=2, note="Two steps say nothing.")
    table = CodebooksTable.kept(file, config, "set@1", lambda line: None)
    monkeypatch.setattr(codebooks, "compare", None)
    assert CodebooksTable.kept(file, config, "set@1", lambda line: None) == table
    head, *rows = table.cells()
    assert head == ["codebook", "nats per token alone", "beside the other", "paper"]
    assert [row[0] for row in rows] == ["linguistic", "semantic"]
    assert all(row.alone.low <= row.alone.value <= row.alone.high for row in table.rows)
    assert "Two steps say nothing." in table.as_markdown()
    with pytest.raises(SetupError, match="is of set@1, 2 steps and seed 0: remove it"):
        CodebooksTable.kept(file, CodebooksConfig(steps=3), "set@1", lambda line: None)
