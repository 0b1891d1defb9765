import numpy as np
import pytest

from pipeline.evaluation.answers.ears import SILENCE, Heard
from pipeline.evaluation.answers.exchange import SpokenAnswer
from pipeline.evaluation.answers.kept import EvaluationFolder, file_name
from pipeline.evaluation.answers.voices import write_whole
from schemas.errors import SetupError
from schemas.recording import Codes

HEARD = Heard("hello", "en", 0.9, 1.0, 0.8, 0.0, 3.5, 12.0, 150.0, 5.0, -23.0, (0.6, 0.8))


@pytest.fixture
def folder(tmp_path):
    return EvaluationFolder(tmp_path / "out")


def test_everything_raw_is_kept(folder):
    tone = np.sin(np.arange(800) / 10).astype(np.float32)
    answer = SpokenAnswer("Hello.", tone, 8000, (Codes((1, 2), (3, 4, 5)),), "end", {"total": 1.5})
    folder.keep("m", "row/1", [(answer, HEARD), (SpokenAnswer("", None), SILENCE)])
    kept = folder.answers("m", "row/1")
    first, second = kept.turns
    assert (first.text, first.codes) == ("Hello.", ({"linguistic": [1, 2], "semantic": [3, 4, 5]},))
    assert (first.latency, first.reason, first.heard) == ({"total": 1.5}, "end", HEARD)
    samples, rate = folder.samples(first.audio)
    assert rate == 8000
    assert np.allclose(samples, tone, atol=1e-3)
    assert (second.audio, second.seen.empty) == (None, True)
    assert not kept.silent


@pytest.mark.parametrize("ending", [".wav", ".json"])
def test_a_row_is_there_wholly_or_not_at_all(folder, monkeypatch, ending):
    answers = [(SpokenAnswer("Hello.", np.full(800, 0.1, np.float32), 8000), HEARD)]

    def full(file, data):
        if file.suffix == ending:
            raise OSError("no space")
        write_whole(file, data)

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.evaluation.answers.kept.write_whole", full)
        with pytest.raises(OSError, match="no space"):
            folder.keep("m", "a", answers)
    assert folder.answers("m", "a") is None
    folder.keep("m", "a", answers)
    [turn] = folder.answers("m", "a").turns
    samples, _ = folder.samples(turn.audio)
    assert len(samples) == 800


def test_what_failed_is_forgotten_for_the_next_run(folder):
    folder.keep_failure("m", "a", "timeout", "it took over 120 s")
    folder.keep("m", "b", [(SpokenAnswer("Hello.", None), SILENCE)])
    assert folder.answers("m", "a").failed == ("timeout", "it took over 120 s")
    folder.forget_failures("m")
    assert folder.answers("m", "a") is None
    assert folder.answers("m", "b") is not None


def test_a_run_with_other_settings_is_refused(folder):
    folder.begin({"seed": 0})
    folder.begin({"seed": 0})
    with pytest.raises(SetupError, match="holds an evaluation with another seed: 0, and now it is 1"):
        folder.begin({"seed": 1})
    folder.begin_model("m", {"sha256": "a"})
    with pytest.raises(SetupError, match="holds answers of m with another sha256"):
        folder.begin_model("m", {"sha256": "b"})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SetupError, match="holds something else"):
        EvaluationFolder(tmp_path).begin({})


def test_names_of_files_are_safe_and_unique():
    assert file_name("sum-en-01") == "sum-en-01"
    names = {file_name(name) for name in ("a/b", "a:b", "../a", ".a", "a b", "长" * 200)}
    assert len(names) == 6
    assert all(name[0] != "." and "/" not in name and len(name) < 100 for name in names)


def test_a_question_that_sounds_different_needs_another_folder(tmp_path):
    folder = EvaluationFolder(tmp_path)
    assert folder.question("sum", 1, b"one") == folder.question("sum", 1, b"one")
    with pytest.raises(SetupError, match=r"another recording of question 1 of sum\. Name another folder"):
        folder.question("sum", 1, b"other")
