import json
import re
from collections import Counter

import pytest

from pipeline.evaluation.answers.benchmark import FOLDER, open_benchmark
from pipeline.synthesis.phrasings import phrasings_of
from schemas.benchmark import DIMENSIONS
from schemas.errors import SetupError
from stages.synthesize.asking import SpokenInstructionsConfig
from stages.synthesize.asking.phrasings import is_held_out

ROW = {"id": "a", "dimension": "gaming", "turns": [{"text": "Hello."}]}


def write(file, *rows):
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(file)


def test_the_shipped_benchmark_has_15_conversations_in_each_of_nine_dimensions_and_those_about_controls():
    shipped = open_benchmark("builtin")
    assert shipped.refused == ()
    others = [row for row in shipped.rows if not row.id.startswith("control-")]
    assert Counter(row.dimension for row in others) == dict.fromkeys(DIMENSIONS, 15)
    assert all(len(row.turns) > 1 and row.checks for row in shipped.rows)
    assert Counter(row.spoken_language for row in others) == {"en": 90, "zh": 45}
    assert {row.dimension for row in shipped.rows} == set(DIMENSIONS)
    # The first rows of a dimension, which a limit takes, stay what they were.
    assert not any(row.id.startswith("control-") for row in shipped.limited(15).rows)
    assert "CC0" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize(
    ("language", "sentences"), [("en", "Answer in .* sentences\\."), ("zh", "请用.句话回答。")]
)
def test_every_way_to_speak_that_is_taught_is_asked_for_in_held_out_phrasings(language, sentences):
    templates = phrasings_of(SpokenInstructionsConfig())[language]
    rows = [row for row in open_benchmark("builtin").rows if row.id.startswith("control-")]
    asked, parts = set(), set()
    for row in [row for row in rows if row.spoken_language == language]:
        *_, check = row.checks
        said = row.turns[-1].text
        if check.kind == "voice_turns":
            parts.add(check.parts)
            _, phrasing = re.split(sentences, said)
            assert is_held_out(f"{{question}}{phrasing}")
        else:
            asked.add(check.label)
            assert said in templates.phrasings("again", check.label)
            assert is_held_out(said)
    assert asked == templates.styles - {"plain"}
    assert parts == ({2, 3, 4, 5} if language == "en" else {2, 3, 4})


def test_questions_of_the_shipped_benchmark_are_all_different():
    asked = [tuple(turn.text for turn in row.turns) for row in open_benchmark("builtin").rows]
    assert len(set(asked)) == len(asked)


def test_an_english_question_has_no_chinese_and_a_chinese_one_has_some():
    for row in open_benchmark("builtin").rows:
        for turn in row.turns:
            assert bool(re.search("[㐀-鿿]", turn.text)) == (row.spoken_language == "zh")


def test_rows_that_cannot_be_used_are_told_with_file_line_and_key(tmp_path):
    place = write(tmp_path / "b.jsonl", ROW, "{", ROW, ROW | {"id": "b", "turns": [{"x": 1}]})
    benchmark = open_benchmark(place)
    assert [row.id for row in benchmark.rows] == ["a"]
    json_error, twice, key = benchmark.refused
    assert json_error.startswith("b.jsonl:2: the line is not valid JSON")
    assert twice == "b.jsonl:3: `id`: a stands in a row before"
    assert key == "b.jsonl:4: `turns.0.x`: Extra inputs are not permitted"


@pytest.mark.parametrize("content", ["", '{"question": "What?"}\n'])
def test_a_benchmark_without_a_row_is_refused(tmp_path, content):
    (tmp_path / "b.jsonl").write_text(content)
    with pytest.raises(SetupError, match=r"b\.jsonl is not a benchmark"):
        open_benchmark(str(tmp_path / "b.jsonl"))


def test_audio_is_found_beside_its_row(tmp_path):
    (tmp_path / "part" / "clips").mkdir(parents=True)
    (tmp_path / "part" / "clips" / "q.wav").write_bytes(b"sound")
    write(tmp_path / "part" / "b.jsonl", ROW | {"turns": [{"audio": "clips/q.wav"}]})
    benchmark = open_benchmark(str(tmp_path))
    assert benchmark.audio(benchmark.rows[0].turns[0].audio) == b"sound"


def test_two_files_may_use_one_name_for_different_audio(tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "q.wav").write_bytes(part.encode())
        write(tmp_path / part / "b.jsonl", ROW | {"id": part, "turns": [{"audio": "q.wav"}]})
    benchmark = open_benchmark(str(tmp_path))
    assert [benchmark.audio(row.turns[0].audio) for row in benchmark.rows] == [b"a", b"b"]


def test_the_limit_is_for_each_dimension(tmp_path):
    rows = [ROW | {"id": f"{dimension}{n}", "dimension": dimension} for dimension in "xy" for n in range(3)]
    limited = open_benchmark(write(tmp_path / "b.jsonl", *rows)).limited(2)
    assert [row.id for row in limited.rows] == ["x0", "x1", "y0", "y1"]


def test_the_version_changes_with_the_rows_alone(tmp_path):
    one = open_benchmark(write(tmp_path / "one.jsonl", ROW))
    assert open_benchmark(write(tmp_path / "two.jsonl", ROW)).version == one.version
    assert open_benchmark(write(tmp_path / "two.jsonl", ROW | {"instruction": "x"})).version != one.version
