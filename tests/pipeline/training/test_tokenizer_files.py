"""A finished model has a text tokenizer beside its weights, or a line says why it has none."""

import json

import pytest

from pipeline.models import resolve
from pipeline.training.tokenizer_files import add_tokenizer
from schemas.vocabulary import Vocabulary
from stages.train.shape import PRESETS, public_config

TOKENIZER = "package:talk-tokenizer"


@pytest.fixture
def model(tmp_path):
    """A folder with all but the weights."""
    vocabulary = Vocabulary.embedded(resolve(TOKENIZER).path)
    config = public_config(PRESETS["talk"], "float32", vocabulary.describe()["specials"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_vocabulary(tmp_path, vocabulary.describe(), TOKENIZER)
    return tmp_path


def write_vocabulary(folder, described, tokenizer):
    made_by = {"made_by": {"vocabulary": {"tokenizer": tokenizer}}}
    (folder / "vocabulary.json").write_text(json.dumps(described | made_by))


def test_it_is_written(model, capsys):
    add_tokenizer(model)
    assert (model / "tokenizer.json").exists()
    assert not capsys.readouterr().err


def test_one_that_is_not_on_this_machine_is_left_out_with_a_line(model, capsys):
    described = json.loads((model / "vocabulary.json").read_text())
    write_vocabulary(model, described, "file:/no/such/tokenizer.json")
    add_tokenizer(model)
    assert not (model / "tokenizer.json").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no text tokenizer beside the model: " in line
    assert "there is no /no/such/tokenizer.json" in line


def test_one_whose_ids_leave_gaps_is_left_out_with_a_line(model, capsys):
    described = json.loads((model / "vocabulary.json").read_text())
    for codes in ("linguistic", "semantic"):
        described[codes]["first"] += 7
    write_vocabulary(model, described | {"size": described["size"] + 7}, TOKENIZER)
    add_tokenizer(model)
    assert not (model / "tokenizer.json").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "leave gaps" in line
