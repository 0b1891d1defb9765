"""Packing turns and texts: samples, outcomes, and the decisions over the whole dataset."""

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from pipeline.pack.packed_group import PackedGroup, PackedShard
from pipeline.pack.run import groups_of
from pipeline.versions.reader import Reference, open_version
from pipeline.versions.verify import faults
from schemas.errors import SetupError
from schemas.layout import read
from schemas.recording import Word
from schemas.turn import recording_key
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn, two_who_talk

WORDS = "the train to the city leaves at nine from platform"


def a_recording(name, turns=6, text=None, **more):
    """Two speakers, each turn with different words."""
    return two_who_talk(
        name,
        turns,
        lambda n: {
            "text": text or f"{WORDS} {name} {n} of {n * 7}",
            "groups": 37,
            "words_per_second": (2.0, 2.0, 3.5, 2.0, 2.0, 1.2)[n % 6],
            **more,
        },
    )


def recordings(*names, **more):
    return {name: a_recording(name, **more) for name in names}


def samples_of(plan, manifest):
    folder = plan.dataset.directory / "versions" / manifest.version / "shards"
    shards = sorted(map(str, folder.glob("*.tar")))
    for sample in webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=None, empty_check=False):
        yield json.loads(sample["json"]), np.load(BytesIO(sample["tokens.npy"]))


def rows_of(plan, manifest, table):
    path = plan.dataset.directory / "versions" / manifest.version / f"{table}.parquet"
    return pq.read_table(path).to_pylist()


def whole(plan, manifest):
    version = open_version(
        Reference.parse(f"{plan.recipe.output.removeprefix('file://')}/{plan.recipe.name}")
    )
    assert version.id == manifest.version
    return list(faults(version)) == []


CHATS = [
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the tallest mountain?"},
            {"role": "assistant", "content": "Everest."},
            {"role": "user", "content": "And the second?"},
            {"role": "assistant", "content": "K2. <|EOT|>"},
        ],
        "language": "en",
        "licence": "CC0-1.0",
    },
    {"messages": [{"role": "user", "content": "Hello"}]},
    {"messages": [{"role": "tool", "content": "42"}]},
    {"text": "Ships sail on the sea every day.", "id": 7},
    {"text": "  "},
    {"txt": "?"},
]


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [json.dumps(row) for row in CHATS]
    (folder / "chats.jsonl").write_text("\n".join([*lines[:3], "{broken", *lines[3:]]) + "\n")
    pq.write_table(pa.Table.from_pylist([{"text": "One row."}, {"text": None}]), folder / "more.parquet")
    return folder


ALL = ["continuation", "interleaved", "asr", "tts", "tqta", "aqta", "taqta", "aqtaa", "controlled", "replay"]


class TestFamilies:
    def test_every_family_is_made_and_reads_back(self, tmp_path, texts, vocabulary):
        turns = recordings("a.wav")
        turns["a.wav"][3] = with_words(turns["a.wav"][3])
        turns["b.wav"] = [replace_speaker(turn) for turn in a_recording("b.wav")]
        families = {"families": ALL, "continuation_seconds_min": 4}
        plan = planned(tmp_path, turns, texts=["texts"], compose=families)
        manifest = packed(plan, with_pages=True)
        assert set(manifest.samples) == set(ALL)
        for record, tokens in samples_of(plan, manifest):
            for message, stored in zip(read(tokens, vocabulary), record["messages"], strict=True):
                texts = [part["text"] for part in stored["content"] if part["type"] == "text"]
                assert message.text == "".join(texts)
                assert len(message.codes) == sum(part["type"] == "audio" for part in stored["content"])
        assert whole(plan, manifest)

    def test_the_record_of_an_answer_keeps_speakers_language_and_labels(self, tmp_path):
        plan = planned(tmp_path, recordings("a.wav"), compose={"families": ["aqtaa"]})
        for record, _ in samples_of(plan, packed(plan)):
            assert record["speakers"] == ["A", "B"]
            assert record["language"] == "en"
            assert record["turns"][-1]["labels"]["rate"] in ("slow", "normal", "fast")


def with_words(turn):
    words = [Word(turn.turn.start + n, turn.turn.start + n + 0.9, f" part{n},", 0.9) for n in range(4)]
    return replace(turn, transcript=replace(turn.transcript, words=tuple(words)))


def replace_speaker(turn):
    """The same speaker for every turn."""
    return replace(turn, turn=replace(turn.turn, speaker="A"))


class TestTexts:
    def pack(self, tmp_path, **recipe):
        families = {"families": ["tqta", "replay"]}
        plan = planned(tmp_path, recordings("a.wav"), **{"texts": ["texts"], "compose": families} | recipe)
        return plan, packed(plan)

    def test_conversations_and_documents_become_samples(self, tmp_path, texts, vocabulary):
        plan, manifest = self.pack(tmp_path)
        found = {
            record["source"]["recording"]: (record, tokens) for record, tokens in samples_of(plan, manifest)
        }
        record, tokens = found["chats.jsonl:1"]
        assert [(m.role, m.text) for m in read(tokens, vocabulary)] == [
            ("system", "Be brief."),
            ("human", "What is the tallest mountain?"),
            ("assistant", "Everest."),
            ("human", "And the second?"),
            ("assistant", "K2. <|EOT|>"),
        ]
        assert (record["language"], record["speakers"]) == ("en", [])
        assert record["sidecar"] == {"language": "en", "licence": "CC0-1.0"}
        record, tokens = found["chats.jsonl:5"]
        assert [(m.role, m.text) for m in read(tokens, vocabulary)] == [
            (None, "Ships sail on the sea every day.")
        ]
        assert record["sidecar"] == {"id": 7}
        assert read(found["more.parquet:1"][1], vocabulary)[0].text == "One row."

    def test_unusable_rows_are_reported_with_file_and_line(self, tmp_path, texts):
        plan, manifest = self.pack(tmp_path)
        assert manifest.texts.model_dump() == {"rows": 9, "used": 3, "eligible": 0, "set_aside": 6}
        aside = {
            row["recording"]: row["code"]
            for row in rows_of(plan, manifest, "set_aside")
            if row["stage"] == "texts"
        }
        assert aside == {
            "chats.jsonl:2": "no_answer",
            "chats.jsonl:3": "bad_chat",
            "chats.jsonl:4": "bad_json",
            "chats.jsonl:6": "bad_text",
            "chats.jsonl:7": "bad_chat",
            "more.parquet:2": "bad_text",
        }
        assert whole(plan, manifest)

    def test_a_row_may_have_any_other_field(self, tmp_path, texts):
        (texts / "chats.jsonl").write_text('{"text": "half \\ud800"}\n{"text": "whole", "note": "\\ud800"}\n')
        row = {"text": "dated", "when": datetime(2024, 5, 1), "raw": b"\x00"}
        pq.write_table(pa.Table.from_pylist([row]), texts / "more.parquet")
        select = {"duplicates": {"texts": True}}
        recipe = {"shard": {"keep_audio": True}, "compose": {"families": ["replay"]}, "select": select}
        plan, manifest = self.pack(tmp_path, **recipe)
        found = {r["source"]["recording"]: r["sidecar"] for r, _ in samples_of(plan, manifest)}
        assert found == {
            "chats.jsonl:2": {"note": "?"},
            "more.parquet:1": {"when": "2024-05-01 00:00:00", "raw": "b'\\x00'"},
        }
        assert manifest.set_aside["texts/bad_text"] == 1

    def test_a_row_that_no_family_uses_is_eligible(self, tmp_path, texts):
        _, manifest = self.pack(tmp_path, compose={"families": ["replay"]})
        assert (manifest.texts.used, manifest.texts.eligible) == (2, 1)

    def test_a_prompt_is_never_on_both_sides_of_the_split(self, tmp_path, texts):
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"Question {n // 3}"},
                    {"role": "assistant", "content": f"{n}"},
                ]
            }
            for n in range(60)
        ]
        (texts / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
        plan, manifest = self.pack(tmp_path, shard={"validation_share": 0.5})
        sides = {}
        keys = {row["key"]: row["split"] for row in rows_of(plan, manifest, "index")}
        for n in range(60):
            split = next(
                split for key, split in keys.items() if f"-row-{n + 1:07d}-" in key and "tqta" in key
            )
            sides.setdefault(n // 3, set()).add(split)
        assert {side for splits in sides.values() for side in splits} == {"train", "validation"}
        assert all(len(splits) == 1 for splits in sides.values())

    def test_selection_applies_to_texts_too(self, tmp_path, texts):
        rows = [
            {"text": "Write to anna@example.com about it."},
            {"text": "Nous allons à la mer.", "language": "fr"},
            {"text": "Tell me now why the sky is so blue at noon today."},
            {"text": "Ships sail."},
        ]
        (texts / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (tmp_path / "prompts.txt").write_text("Why the sky is so blue at noon, do you know?\n")
        select = {
            "pii": True,
            "languages": ["en"],
            "evaluation_prompts": ["prompts.txt"],
            "evaluation_words": 6,
        }
        plan, manifest = self.pack(tmp_path, select=select)
        aside = {r["recording"]: r["code"] for r in rows_of(plan, manifest, "set_aside")}
        assert aside["chats.jsonl:1"] == "personal_data"
        assert aside["chats.jsonl:2"] == "other_language"
        assert aside["chats.jsonl:3"] == "evaluation_prompt"
        assert "chats.jsonl:4" not in aside

    def test_a_folder_without_texts_is_reported(self, tmp_path, texts):
        with pytest.raises(SetupError, match="no such file"):
            planned(tmp_path, recordings("a.wav"), texts=["texts/other.jsonl"])


DUPLICATES = {"duplicates": {"recordings": True, "texts": True}}


class TestDuplicates:
    def test_off_by_default(self, tmp_path):
        turns = {name: a_recording(name, text=WORDS) for name in ("a.wav", "b.wav")}
        assert packed(planned(tmp_path, turns)).turns.set_aside == 0

    def test_a_copy_is_set_aside_with_the_name_of_the_survivor(self, tmp_path):
        turns = {name: a_recording(name, sidecar={"sha256": "same"}) for name in ("b.wav", "a.wav")}
        turns["c.wav"] = a_recording("c.wav")
        plan = planned(tmp_path, turns, select={"duplicates": {"recordings": True}})
        manifest = packed(plan)
        assert manifest.recordings.kept == 2
        (row,) = [r for r in rows_of(plan, manifest, "set_aside") if r["turn"] is None]
        assert (row["recording"], row["code"]) == ("b.wav", "duplicate_recording")
        assert "a.wav" in row["message"]
        assert whole(plan, manifest)

    def test_turns_and_texts_with_the_same_words_are_kept_once(self, tmp_path, texts):
        turns = recordings("a.wav", "b.wav")
        turns["a.wav"][0] = replace(
            turns["a.wav"][0],
            transcript=replace(turns["b.wav"][2].transcript, text=turns["b.wav"][2].transcript.text.upper()),
        )
        row = {"text": f"{WORDS} again and again"}
        (texts / "chats.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
        plan = planned(
            tmp_path, turns, texts=["texts"], select=DUPLICATES, compose={"families": ["asr", "replay"]}
        )
        manifest = packed(plan)
        assert manifest.set_aside["select/duplicate_text"] == 2
        aside = {
            r["recording"]: r["message"]
            for r in rows_of(plan, manifest, "set_aside")
            if "row-" in r["message"]
        }
        assert list(aside) == ["chats.jsonl:2"]

    def test_a_refused_recording_is_not_a_survivor(self, tmp_path):
        turns = {name: a_recording(name, sidecar={"sha256": "same"}) for name in ("a.wav", "b.wav")}
        plan = planned(tmp_path, turns, select={"duplicates": {"recordings": True}, "deny": ["a.wav"]})
        manifest = packed(plan)
        aside = {r["recording"]: r["code"] for r in rows_of(plan, manifest, "set_aside") if r["turn"] is None}
        assert aside == {"a.wav": "denied"}


class TestMixture:
    def test_tokens_have_the_requested_proportions_over_all_groups(self, tmp_path, texts):
        turns = recordings(*(f"{n}.wav" for n in range(12)), turns=12)
        rows = [{"text": f"{WORDS} row {n}"} for n in range(400)]
        (texts / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
        weights = {"asr": 2, "tts": 1, "replay": 1}
        plan = planned(
            tmp_path,
            turns,
            texts=["texts"],
            compose={"families": list(weights)},
            mixture={"weights": weights},
            units={"recordings": 2},
        )
        manifest = packed(plan)
        for family, weight in weights.items():
            share = manifest.mixture[family]
            assert share.asked == weight / 4
            assert share.got == pytest.approx(share.asked, abs=0.02)
        assert sum(share.left_out == 0 for share in manifest.mixture.values()) == 1
        assert whole(plan, manifest)

    def test_a_speakers_hours_are_capped(self, tmp_path):
        turns = {
            name: a_recording(name, turns=12, sidecar={"speaker": "anna"}) for name in ("a.wav", "b.wav")
        }
        plan = planned(tmp_path, turns, mixture={"speaker_hours_max": 60 / 3600})
        manifest = packed(plan)
        assert 50 < manifest.kept_seconds <= 60
        assert manifest.set_aside["select/over_speaker_cap"] == manifest.turns.set_aside

    def test_a_family_without_a_weight_is_refused_with_its_line(self, tmp_path):
        with pytest.raises(SetupError, match=r"recipe.yaml:\d+: `mixture`.*only one has aqtaa, tts"):
            planned(tmp_path, recordings("a.wav"), mixture={"weights": {"asr": 1, "continuation": 1}})

    def test_the_report_and_the_card_show_requested_and_actual_shares(self, tmp_path):
        plan = planned(
            tmp_path,
            recordings("a.wav"),
            compose={"families": ["asr", "tts"]},
            mixture={"weights": {"asr": 3, "tts": 1}},
        )
        manifest = packed(plan, with_pages=True)
        folder = plan.dataset.directory / "versions" / manifest.version
        assert "75.0 % requested" in (folder / "README.md").read_text()
        assert "<th>Mixture</th>" in (folder / "report.html").read_text()


SURVEYED = {"units": {"recordings": 1}, "select": {"duplicates": {"recordings": True}}}


class TestGroups:
    """A group is packed again only if something in it changed."""

    def fingerprints(self, tmp_path, turns, **recipe):
        plan = planned(tmp_path, turns, **SURVEYED | recipe)
        return {group.name: group.fingerprint for group in groups_of(plan)}

    def test_texts_leave_the_groups_of_recordings_unchanged(self, tmp_path, texts):
        turns = recordings("a.wav", "b.wav")
        before = self.fingerprints(tmp_path, turns)
        after = self.fingerprints(tmp_path, turns, texts=["texts"])
        assert {name: after[name] for name in before} == before
        assert set(after) - set(before) == {"chats.jsonl", "more.parquet"}

    def test_a_group_is_surveyed_once(self, tmp_path):
        turns = recordings("a.wav", "b.wav")
        plan = planned(tmp_path, turns, **SURVEYED)
        groups_of(plan)
        surveys = plan.dataset.directory / "surveys"
        times = {path: path.stat().st_mtime_ns for path in surveys.rglob("*.parquet")}
        assert times
        groups_of(plan)
        assert {path: path.stat().st_mtime_ns for path in surveys.rglob("*.parquet")} == times

    def test_without_dataset_wide_decisions_nothing_is_surveyed(self, tmp_path):
        plan = planned(tmp_path, recordings("a.wav"))
        packed(plan)
        assert not (plan.dataset.directory / "surveys").exists()


SPOKEN = {
    "synthetic": True,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "human", "content": "What is the tallest mountain?"},
        {"role": "assistant", "content": "Everest."},
        {"role": "human", "content": "How tall is it, in metres?"},
        {"role": "assistant", "content": "8,849 metres."},
    ],
    "synthesis": {"spoken": [{"message": 3, "role": "human"}, {"message": 4, "role": "assistant"}]},
}


class TestSynthesis:
    """A conversation whose last question and answer are synthesized."""

    def test_is_an_exchange_with_its_history_and_its_written_text(self, tmp_path, vocabulary):
        turns = [
            a_turn(0.2, 2.2, "human", "how tall is it in meters", 0, recording="s.flac", sidecar=SPOKEN),
            a_turn(2.8, 5.0, "assistant", "eight thousand", 1, recording="s.flac", sidecar=SPOKEN),
        ]
        plan = planned(tmp_path, {"s.flac": turns}, compose={"families": ["aqtaa"]})
        ((record, tokens),) = samples_of(plan, packed(plan))
        messages = read(tokens, vocabulary)
        assert [m.role for m in messages] == ["system", "human", "assistant", "human", "assistant"]
        assert messages[-1].text == "8,849 metres."
        assert [len(m.codes) for m in messages] == [0, 0, 0, 1, 1]
        assert record["messages"][3]["content"][0]["text"] == "How tall is it, in metres?"

    IN_TWO = "It has 8,849 m. That is a lot."
    IN_HALVES = SPOKEN | {
        "messages": [
            *SPOKEN["messages"][:4],
            {"role": "assistant", "content": IN_TWO},
        ],
        "synthesis": {
            "spoken": [
                {"message": 3, "labels": {}},
                {"message": 4, "labels": {"rate": "normal", "loudness": "soft"}},
                {"message": 4, "labels": {"rate": "slow", "loudness": "normal"}},
            ]
        },
    }

    def in_halves(self, second="That is a lot."):
        """A question and an answer in two halves, as recognized; the turns have the written texts."""
        said = [
            ("human", "how tall is it", "How tall is it, in metres?"),
            ("assistant", "it has eight thousand meters", "It has 8,849 m."),
            ("assistant", "that is a lot", second),
        ]
        for n, (speaker, heard, written) in enumerate(said):
            place = {"recording": "s.flac", "sidecar": self.IN_HALVES, "groups": 15 + n}
            turn = a_turn(3.0 * n, 3.0 * n + 2.0, speaker, heard, n, **place)
            yield replace(turn, turn=replace(turn.turn, text=written))

    @pytest.mark.parametrize(
        ("concatenation", "voices"), [("marker_preserving", 2), ("marker_removal", 1), ("pre_interleaved", 2)]
    )
    def test_an_answer_in_two_styles_is_controlled(self, tmp_path, vocabulary, concatenation, voices):
        checks = {"checks": {"error_rate_max": None}}
        families = {"compose": {"families": ["controlled", "aqta", "aqtaa"]}}
        layout = {"interleave": {"concatenation": concatenation}}
        plan = planned(tmp_path, {"s.flac": list(self.in_halves())}, **families, **layout, synthesize=checks)
        manifest = packed(plan)
        # No single turn has the whole answer.
        assert manifest.samples == {"controlled": 1, "aqta": 1}
        found = {record["family"]: (record, tokens) for record, tokens in samples_of(plan, manifest)}
        record, tokens = found["controlled"]
        *before, human, assistant = read(tokens, vocabulary)
        assert [(m.role, m.text) for m in before] == [
            (m["role"], m["content"]) for m in self.IN_HALVES["messages"][:3]
        ]
        assert "slower and louder" in human.text
        assert len(human.codes) == 1
        assert assistant.text == self.IN_TWO
        assert [len(codes.linguistic) for codes in assistant.codes] == ([32, 34] if voices == 2 else [66])
        assert [turn["labels"].get("rate") for turn in record["turns"]] == [None, "normal", "slow"]
        assert record["source"]["recording"] == "s.flac"
        assert read(found["aqta"][1], vocabulary)[-1].text == self.IN_TWO

    def test_a_question_that_asks_aloud_needs_no_written_instruction(self, tmp_path, vocabulary):
        turns = list(self.in_halves())
        synthesis = self.IN_HALVES["synthesis"] | {"instruction": {"styles": ["soft", "slow"]}}
        sidecar = self.IN_HALVES | {"synthesis": synthesis}
        asking = [replace(turn, metadata=sidecar) for turn in turns]
        checks = {"checks": {"error_rate_max": None}}
        plan = planned(tmp_path, {"s.flac": asking}, compose={"families": ["controlled"]}, synthesize=checks)
        ((record, tokens),) = samples_of(plan, packed(plan))
        *_, human, assistant = read(tokens, vocabulary)
        assert (human.text, len(human.codes), assistant.text) == ("", 1, self.IN_TWO)
        assert record["sidecar"]["synthesis"]["instruction"] == {"styles": ["soft", "slow"]}

    def test_what_was_asked_and_what_is_heard_is_recorded_and_counted(self, tmp_path):
        plain = {"speech_seconds": 1.0, "loudness_lufs": -27.0}
        spoken = [
            {"message": 3, "labels": {}},
            {"message": 4, "labels": {"rate": "slow", "loudness": "normal"}, "plain": plain},
            {"message": 4, "labels": {"rate": "normal", "loudness": "soft"}, "plain": plain},
        ]
        sidecar = self.IN_HALVES | {"synthesis": {"spoken": spoken}}
        turns = [replace(turn, metadata=sidecar) for turn in self.in_halves()]  # 1.8 s of speech, -27 LUFS
        checks = {"checks": {"error_rate_max": None}}
        plan = planned(tmp_path, {"s.flac": turns}, compose={"families": ["controlled"]}, synthesize=checks)
        manifest = packed(plan)
        assert manifest.styles == {"slow/confirmed": 1, "soft/refused": 1}
        ((record, _),) = samples_of(plan, manifest)
        assert [(turn.get("asked"), turn.get("heard")) for turn in record["turns"]] == [
            (None, None),
            *((part["labels"], {"rate": "slow", "loudness": "normal"}) for part in spoken[1:]),
        ]

    def test_a_prompt_is_on_one_side_of_the_split_whoever_answers_it(self, tmp_path, texts):
        def chat(n):
            question = {"role": "human", "content": f"What is {n // 3} and {n // 3}?"}
            return {"messages": [question, {"role": "assistant", "content": f"{n}."}]}

        spoken = {"synthesis": {"spoken": [{"message": 0}, {"message": 1}]}}
        turns = {
            f"{n}.flac": [
                a_turn(3.0 * k, 3.0 * k + 2, who, "well", k, recording=f"{n}.flac", sidecar=chat(n) | spoken)
                for k, who in enumerate(("human", "assistant"))
            ]
            for n in range(30)
        }
        (texts / "chats.jsonl").write_text("\n".join(json.dumps(chat(n)) for n in range(30)))
        preferences, shard = {"contrast": {"deaf": 1}}, {"validation_share": 0.5}
        families = {"families": ["aqtaa", "tqta"]}
        plan = planned(
            tmp_path, turns, texts=["texts"], compose=families, preferences=preferences, shard=shard
        )
        manifest = packed(plan)
        assert (manifest.samples["preference"], manifest.samples["aqtaa"]) == (30, 30)
        by_key = {row["key"]: row["split"] for row in rows_of(plan, manifest, "index")}
        numbers = {recording_key(f"{n}.flac"): n for n in range(30)} | {
            f"row-{n + 1:07d}": n for n in range(30)
        }
        sides = {}
        for key, split in by_key.items():
            n = next((n for stem, n in numbers.items() if stem in key), None)
            if n is not None:
                sides.setdefault(n // 3, set()).add(split)
        assert len(sides) == 10
        assert all(len(splits) == 1 for splits in sides.values())
        assert {side for splits in sides.values() for side in splits} == {"train", "validation"}

    def test_half_an_answer_is_not_an_answer(self, tmp_path):
        turns = list(self.in_halves(second="Something else that nobody has said at all."))
        plan = planned(tmp_path, {"s.flac": turns}, compose={"families": ["controlled", "aqtaa", "tts"]})
        manifest = packed(plan)
        assert manifest.set_aside["synthesize/misspoken"] >= 1
        assert {"controlled", "aqtaa"}.isdisjoint(manifest.samples)


def test_the_bytes_of_shards_stay(tmp_path):
    plan = planned(tmp_path, recordings("a.wav", "b.wav"), compose={"families": ["asr", "tts", "aqtaa"]})
    [shard] = packed(plan).shards
    assert shard.sha256 == GOLDEN_SHARD


GOLDEN_SHARD = "a48751ee5331b64db0b4939f971922875388823f039d521a5425155bb02a1fc9"
"""Another value changes the ids of all versions: raise a stage's VERSION and add a line to the changelog."""


def test_the_summary_of_a_packed_group_keeps_its_form():
    counts = {
        name: {}
        for name in (
            *("recordings", "texts", "turns", "set_aside", "samples", "tokens", "family_tokens", "left_out"),
            *("not_composed", "licences", "companions", "audio_notes", "styles", "voice_styles"),
            *("dialects", "songs"),
        )
    }
    shard = {"name": "train-000000.tar", "split": "train", "samples": 2, "bytes": 10240, "sha256": "0" * 64}
    rest = {"folder": "packs/0", "audio_seconds": 1.5, "kept_seconds": 1.0, "rater_agreement": None}
    stored = json.dumps(counts | rest | {"shards": [shard]}, sort_keys=True).encode()
    group = PackedGroup.from_json(stored)
    assert group.shards == (PackedShard(**shard),)
    assert group.to_json() == stored
    new = ("companions", "audio_notes", "styles", "voice_styles", "dialects", "songs")
    earlier = {name: value for name, value in json.loads(stored).items() if name not in new}
    assert PackedGroup.from_json(json.dumps(earlier).encode()) == group, "as earlier builds wrote it"


def test_counts_add_up_over_families(tmp_path):
    plan = planned(tmp_path, recordings("a.wav", "b.wav"))
    manifest = packed(plan)
    families = Counter(record["family"] for record, _ in samples_of(plan, manifest))
    assert dict(families) == manifest.samples
    shares = [share.got for share in manifest.mixture.values()]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert all(share.asked is None for share in manifest.mixture.values())
