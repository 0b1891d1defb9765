"""Public benchmarks in the forms that their descriptions tell of."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.answers.benchmark import open_benchmark
from schemas.errors import SetupError


def archive(path, folder="audios/", **members):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}{name}.wav")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def parquet(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def test_stepeval_audio_360_is_parquet_with_an_archive_of_audio(tmp_path):
    archive(tmp_path / "audios.tar.gz", a1=b"one", a2=b"two")
    conversation = [
        {"role": "user", "audio": "audios/a1.wav", "content": "Hello."},
        {"role": "assistant", "audio": None, "content": "Hi."},
        {"role": "user", "audio": "audios/a2.wav", "content": "Sing."},
    ]
    row = {"conversation_id": "c1", "category": "Speech Emotion Control", "conversation": conversation}
    parquet(tmp_path / "data" / "test.parquet", row)
    benchmark = open_benchmark(str(tmp_path))
    [found] = benchmark.rows
    assert (found.id, found.dimension) == ("c1", "speech_emotion_control")
    assert [turn.text for turn in found.turns] == ["Hello.", "Sing."]
    assert [benchmark.audio(turn.audio) for turn in found.turns] == [b"one", b"two"]


def test_the_turns_may_be_json_in_a_text(tmp_path):
    archive(tmp_path / "audios.tar.gz", a1=b"one")
    turns = json.dumps([{"role": "human", "audio_path": "a1.wav"}])
    parquet(tmp_path / "test.parquet", {"id": 1, "task": "singing", "turns": turns})
    benchmark = open_benchmark(str(tmp_path))
    assert benchmark.audio(benchmark.rows[0].turns[0].audio) == b"one"


@pytest.mark.parametrize("asked", ["12.wav", "audios/12.wav", "./audios/12.wav", "data/audios/12.wav"])
def test_audio_is_not_taken_for_one_whose_name_is_its_end(tmp_path, asked):
    archive(tmp_path / "audios.tar.gz", folder="", **{"1": b"one", "2": b"two", "12": b"twelve"})
    parquet(tmp_path / "test.parquet", {"id": 1, "task": "singing", "turns": [{"audio": asked}]})
    benchmark = open_benchmark(str(tmp_path))
    assert benchmark.audio(benchmark.rows[0].turns[0].audio) == b"twelve"


def test_a_whole_path_goes_before_an_end_of_one(tmp_path):
    archive(tmp_path / "audios.tar.gz", **{"audios/1": b"deeper", "1": b"one"})
    parquet(tmp_path / "test.parquet", {"id": 1, "task": "singing", "turns": [{"audio": "audios/1.wav"}]})
    benchmark = open_benchmark(str(tmp_path))
    assert benchmark.audio(benchmark.rows[0].turns[0].audio) == b"one"


def test_columns_that_stepeval_lacks_are_named(tmp_path):
    archive(tmp_path / "audios.tar.gz", a1=b"one")
    parquet(tmp_path / "test.parquet", {"id": "c1", "kind": "singing", "said": "x"})
    with pytest.raises(SetupError) as raised:
        open_benchmark(str(tmp_path))
    message = str(raised.value)
    assert message.startswith("test.parquet:1: no column for dimension (dimension, category")
    assert "turns (turns, conversation" in message
    assert "the file has id, kind, said" in message


def test_an_archive_without_rows_is_told(tmp_path):
    archive(tmp_path / "audios.tar.gz", a1=b"one")
    with pytest.raises(SetupError, match="no Parquet file of StepEval-Audio-360"):
        open_benchmark(str(tmp_path))


def test_voicebench_is_parquet_with_its_audio_inside(tmp_path):
    audio = {"bytes": b"sound", "path": None}
    parquet(tmp_path / "sd-qa.parquet", {"prompt": "Who?", "reference": "Ada", "audio": audio})
    benchmark = open_benchmark(str(tmp_path))
    [turn] = benchmark.rows[0].turns
    assert (turn.text, turn.reference, benchmark.audio(turn.audio)) == ("Who?", "Ada", b"sound")


def test_voicebench_without_bytes_is_told(tmp_path):
    parquet(tmp_path / "sd-qa.parquet", {"prompt": "Who?", "audio": "x.wav"})
    with pytest.raises(SetupError, match=r"sd-qa\.parquet:1: `audio` has no bytes"):
        open_benchmark(str(tmp_path))


def test_uro_bench_is_a_folder_for_each_task(tmp_path):
    (tmp_path / "Repeat" / "wav").mkdir(parents=True)
    (tmp_path / "Repeat" / "wav" / "0.wav").write_bytes(b"sound")
    one = {"id": 0, "source_wav": "wav/0.wav", "source_text": "Say hi.", "target_text": "Hi."}
    (tmp_path / "Repeat" / "test.jsonl").write_text(json.dumps(one) + "\n")
    benchmark = open_benchmark(str(tmp_path))
    [row] = benchmark.rows
    assert (row.id, row.dimension, row.turns[0].reference) == ("Repeat-0", "Repeat", "Hi.")
    assert benchmark.audio(row.turns[0].audio) == b"sound"


def test_uro_bench_may_have_two_tasks_of_one_name(tmp_path):
    for part in ("basic", "pro"):
        (tmp_path / part / "Gsm8k").mkdir(parents=True)
        (tmp_path / part / "Gsm8k" / "0.wav").write_bytes(part.encode())
        row = {"id": 0, "source_wav": "0.wav", "source_text": "Two and two?"}
        (tmp_path / part / "Gsm8k" / "test.jsonl").write_text(json.dumps(row) + "\n")
    benchmark = open_benchmark(str(tmp_path))
    assert [row.id for row in benchmark.rows] == ["basic-Gsm8k-0", "pro-Gsm8k-0"]
    assert [benchmark.audio(row.turns[0].audio) for row in benchmark.rows] == [b"basic", b"pro"]


def test_uro_bench_has_conversations_too(tmp_path):
    (tmp_path / "MtBench").mkdir()
    rounds = [
        {"source_wav": "a.wav", "source_text": "One?"},
        {"source_wav": "b.wav", "target_text": ["2", "two"]},
    ]
    (tmp_path / "MtBench" / "test.jsonl").write_text(json.dumps({"id": 3, "dialogue": rounds}) + "\n")
    [row] = open_benchmark(str(tmp_path)).rows
    assert [turn.reference for turn in row.turns] == [None, "2 / two"]


def test_vocalbench_is_a_json_list_for_each_task(tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "0.wav").write_bytes(b"sound")
    entry = {
        "Qid": "knowledge-0",
        "Audio": "knowledge/0.wav",
        "Context": [{"from": "user", "value": "Before?"}, {"from": "assistant", "value": "Yes."}],
        "Question": "Who?",
        "Answer": "Ada",
    }
    (tmp_path / "json" / "knowledge.json").write_text(json.dumps([entry]))
    benchmark = open_benchmark(str(tmp_path / "json"))
    [row] = benchmark.rows
    assert [turn.text for turn in row.turns] == ["Before?", "Who?"]
    assert (row.dimension, benchmark.audio(row.turns[1].audio)) == ("knowledge", b"sound")


def test_what_vocalbench_lacks_is_named(tmp_path):
    (tmp_path / "knowledge.json").write_text(json.dumps([{"Qid": "1", "Question": "Who?"}]))
    with pytest.raises(SetupError, match=r"knowledge\.json, entry 1: no Audio; it has Qid, Question"):
        open_benchmark(str(tmp_path / "knowledge.json"))


class TestABadRowIsRefusedAndTheOthersAreUsed:
    def test_stepeval(self, tmp_path):
        archive(tmp_path / "audios.tar.gz", a1=b"one")
        rows = [
            {"id": n, "task": "singing", "turns": [{"text": text}]} for n, text in enumerate((" ", "Sing."))
        ]
        parquet(tmp_path / "test.parquet", *rows)
        assert told(tmp_path) == (["1"], ["test.parquet:1: `turns.0`: needs `audio` or `text`"])

    def test_voicebench(self, tmp_path):
        audio = {"bytes": b"sound", "path": None}
        parquet(tmp_path / "a.parquet", {"prompt": 7, "audio": audio})
        parquet(tmp_path / "b.parquet", {"prompt": "Who?", "id": "q", "audio": audio})
        assert told(tmp_path) == (["q"], ["a.parquet:1: `turns.0.text`: Input should be a valid string"])

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            ({"source_text": 7}, "`turns.0.text`: Input should be a valid string"),
            ({"source_wav": 7}, "`turns.0.audio`: Input should be a valid string"),
            ({"source_wav": "", "source_text": ""}, "`turns.0`: needs `audio` or `text`"),
            ({"dialogue": "x"}, "`dialogue` is not a list of objects"),
            ([], "the row is not an object"),
        ],
    )
    def test_uro_bench(self, tmp_path, bad, says):
        good = {"id": 0, "source_wav": "0.wav"}
        (tmp_path / "Repeat").mkdir()
        lines = [good, good | {"id": 1} | bad if isinstance(bad, dict) else bad]
        (tmp_path / "Repeat" / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
        assert told(tmp_path) == (["Repeat-0"], [f"Repeat/test.jsonl:2: {says}"])

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            ({"Context": [{"from": "user", "value": " "}]}, "`turns.0`: needs `audio` or `text`"),
            ({"Context": [{"from": "user"}]}, "`turns.0`: needs `audio` or `text`"),
            ({"Context": "Before?"}, "`Context` is not a list of objects"),
            ({"Audio": "", "Question": ""}, "`turns.0`: needs `audio` or `text`"),
            ({"Qid": ""}, "`id`: String should have at least 1 character"),
            ([], "the row is not an object"),
        ],
    )
    def test_vocalbench(self, tmp_path, bad, says):
        good = {"Qid": "q", "Audio": "0.wav", "Question": "Who?"}
        entries = [good, good | {"Qid": "r"} | bad if isinstance(bad, dict) else bad]
        (tmp_path / "knowledge.json").write_text(json.dumps(entries))
        assert told(tmp_path) == (["q"], [f"knowledge.json, entry 2: {says}"])


def told(place):
    """The ids of the rows of a benchmark, and what is refused."""
    benchmark = open_benchmark(str(place))
    return [row.id for row in benchmark.rows], list(benchmark.refused)
