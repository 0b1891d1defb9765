import json
import re

import numpy as np
import pytest
import soundfile

from pipeline.export.annotated import AnnotatedRecordings
from pipeline.export.names import RecordingNames
from pipeline.export.run import export
from pipeline.versions.samples import samples

CODES = re.compile(r"^(.*)<\|begin_of_audio\|>((?:<\|audio_\d+\|>)+)<\|end_of_audio\|>$", re.DOTALL)


@pytest.fixture
def chats(spoken, tmp_path):
    """The lines of each file of a format."""

    def exported(form):
        done = export(spoken, form, tmp_path / form)
        files = {
            path.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for path in (tmp_path / form).glob("*.jsonl")
        }
        assert done.samples == sum(map(len, files.values()))
        assert done.samples + done.documents == sum(1 for _ in samples(spoken))
        return files

    return exported


@pytest.fixture
def codes(spoken):
    """(recording, turn) -> its semantic codes, as annotated; samples have whole groups of three."""
    with spoken.table("turns") as table:
        each = AnnotatedRecordings(spoken).each(table, RecordingNames(table, "path"), None)
        return {
            (recording.recording.id, row["index"]): found.semantic[: len(found.semantic) // 3 * 3]
            for recording in each
            for row, found in zip(recording.rows, recording.codes, strict=True)
            if found
        }


@pytest.mark.parametrize("form", ["chat", "chat-codes"])
def test_every_sample_with_roles_is_a_chat(spoken, chats, form):
    files = chats(form)
    stored = {sample.key: sample for sample in samples(spoken)}
    with_roles = {key for key, s in stored.items() if all(m["role"] for m in s.record["messages"])}
    assert files.keys() == {"train.jsonl", "train-preference.jsonl"}
    assert {line["id"] for lines in files.values() for line in lines} == with_roles != stored.keys()
    for line in files["train.jsonl"]:
        roles = [message["role"] for message in line["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    for line in files["train-preference.jsonl"]:
        assert [line[side][0]["role"] for side in ("prompt", "chosen", "rejected")] == [
            "user",
            "assistant",
            "assistant",
        ]


def test_audio_parts_name_files_with_the_sound_of_the_turn(spoken, chats, tmp_path):
    records = {sample.key: sample.record for sample in samples(spoken)}
    heard = 0
    for line in chats("chat")["train.jsonl"]:
        for message, stored in zip(line["messages"], records[line["id"]]["messages"], strict=True):
            for part, of in zip(message["content"], stored["content"], strict=True):
                assert (part["type"], part["text"]) == (of["type"], of["text"])
                if part["type"] == "audio":
                    sound, rate = soundfile.read(tmp_path / "chat" / part["audio"])
                    assert rate == 16_000
                    assert len(sound) / rate == pytest.approx(of["end"] - of["start"], abs=1e-3)
                    heard += 1
    assert heard > 5


def test_codes_are_the_semantic_ones_of_the_turns(spoken, chats, codes):
    records = {sample.key: sample.record for sample in samples(spoken)}
    compared = 0
    for line in chats("chat-codes")["train.jsonl"]:
        for message, stored in zip(line["messages"], records[line["id"]]["messages"], strict=True):
            turns = [part for part in stored["content"] if part["type"] == "audio"]
            text = "".join(part["text"] for part in stored["content"] if part["type"] == "text")
            if not turns:
                assert message["content"] == text
                continue
            before, audio = CODES.match(message["content"]).groups()
            wanted = np.concatenate([codes[part["recording"], part["turn"]] for part in turns])
            assert (before, [*map(int, re.findall(r"\d+", audio))]) == (text, wanted.tolist())
            compared += 1
    assert compared > 5


def test_chosen_and_rejected_answers_have_their_own_codes(chats):
    for line in chats("chat-codes")["train-preference.jsonl"]:
        assert line["chosen"][0]["content"] != line["rejected"][0]["content"]


def test_hugging_face_datasets_reads_them(spoken, tmp_path):
    datasets = pytest.importorskip("datasets")
    export(spoken, "chat", tmp_path)
    read = datasets.load_dataset(
        "json", data_files=str(tmp_path / "train.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert read["id"][:] == [line["id"] for line in lines]
    assert [part["text"] for part in read[0]["messages"][0]["content"]] == [
        part["text"] for part in lines[0]["messages"][0]["content"]
    ]
