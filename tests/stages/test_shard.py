"""Shards can be read by unmodified WebDataset and decode to exactly the samples that were written."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import soundfile
import webdataset

from schemas.hashing import shuffle_key
from schemas.layout import ReadMessage, read, whole_groups
from schemas.sample import Clip, Pair, Sample
from stages.compose import ComposeConfig, compose, of_turns
from stages.interleave import InterleaveConfig, lay_out
from stages.shard import ShardConfig, group_of, shard_prefix, split_of, write_shards
from tests.paths import DEMO
from tests.stages.annotated import a_turn

RECORDING = DEMO / "monologues" / "az_zhcn_long.flac"

SENTENCES = [
    ("en", "In a small town by the sea, <|EOT|> as they say."),
    ("zh", "我在海边的一个小镇长大。"),
    ("ru", "Я вырос у моря 🌊 <audio_5>\n\nда"),
]


@pytest.fixture(scope="module")
def turns():
    return [
        a_turn(
            start=10.0 * n,
            end=10.0 * n + 6.0,
            index=n,
            speaker="AB"[n % 2],
            language=SENTENCES[n % 3][0],
            text=SENTENCES[n % 3][1],
            groups=20 + n,
            sidecar={"title": "Das Gespräch", "score": float("nan"), "half": "\ud800"},
        )
        for n in range(12)
    ]


@pytest.fixture(scope="module")
def samples(turns, vocabulary):
    drafts = [
        compose(
            family,
            of_turns([turns[n + 1]], turns[n]) if family == "aqtaa" else of_turns([turns[n]]),
            ComposeConfig(),
        )
        for family in ("continuation", "asr", "tts", "aqtaa")
        for n in range(len(turns) - 1)
    ]
    drafts.sort(key=lambda draft: shuffle_key(draft.key))
    return [lay_out(draft, vocabulary, InterleaveConfig()) for draft in drafts]


def write(samples, directory, **config):
    directory.mkdir(exist_ok=True)
    return list(write_shards(samples, directory, "train", 0, ShardConfig(**config)))


def rows(shards):
    paths = [str(shard.path) for shard in shards]
    return list(webdataset.WebDataset(paths, shardshuffle=False).decode())


def test_webdataset_reads_back_the_text_and_codes_of_every_sample(samples, turns, vocabulary, tmp_path):
    shard_rows = rows(write(samples, tmp_path, megabytes=0.1))
    assert [row["__key__"] for row in shard_rows] == [sample.key for sample in samples]
    for row, sample in zip(shard_rows, samples, strict=True):
        assert row["tokens.npy"].dtype == np.int32
        assert row["loss.npy"].dtype == np.uint8
        assert row["tokens.npy"].tolist() == sample.tokens.tolist()
        assert row["loss.npy"].tolist() == sample.loss.tolist()

        record = row["json"]
        used = [turns[measures["index"]] for measures in record["turns"]]
        texts = [turn.transcript.text for turn in used]
        codes = [(whole_groups(turn.codes),) for turn in used]
        messages = read(row["tokens.npy"], vocabulary)
        if record["family"] == "continuation":
            assert messages == (ReadMessage(None, "", codes[0]),)
        if record["family"] == "asr":
            instruction = record["messages"][0]["content"][0]["text"]
            assert messages == (
                ReadMessage("human", instruction, codes[0]),
                ReadMessage("assistant", texts[0], ()),
            )
        if record["family"] == "tts":
            instruction = record["messages"][0]["content"][0]["text"]
            assert messages == (
                ReadMessage("human", instruction + texts[0], ()),
                ReadMessage("assistant", "", codes[0]),
            )
        if record["family"] == "aqtaa":
            assert messages == (
                ReadMessage("human", "", codes[0]),
                ReadMessage("assistant", texts[1], codes[1]),
            )


def test_the_record_is_strict_json(samples, tmp_path):
    row = rows(write(samples[:1], tmp_path))[0]
    record = row["json"]
    assert record["schema_version"] == 1
    assert record["sidecar"] == {"title": "Das Gespräch", "score": None, "half": "?"}
    with tarfile.open(next(tmp_path.iterdir())) as tar:
        raw = tar.extractfile(f"{row['__key__']}.json").read().decode()
    assert "Das Gespräch" in raw
    assert raw == json.dumps(record, sort_keys=True, ensure_ascii=False)


def test_the_same_samples_give_the_same_bytes(samples, tmp_path):
    first, second = write(samples, tmp_path / "a"), write(samples, tmp_path / "b")
    assert [shard.sha256 for shard in first] == [shard.sha256 for shard in second]
    with tarfile.open(first[0].path) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


def test_size_hash_and_offsets_match_the_file(samples, tmp_path):
    shards = write(samples, tmp_path, megabytes=0.1)
    assert sum(shard.samples for shard in shards) == len(samples)
    for shard in shards:
        content = shard.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard.bytes, shard.sha256)
        for entry in shard.entries:
            member = tarfile.TarInfo.frombuf(content[entry.offset :][:512], "utf-8", "strict")
            assert member.name == f"{entry.key}.json"
        last = shard.entries[-1]
        assert content[last.offset + last.bytes :].strip(b"\0") == b""
    tokens = {sample.key: (sample.family, len(sample.tokens)) for sample in samples}
    assert {e.key: (e.family, e.tokens) for shard in shards for e in shard.entries} == tokens


def test_shards_respect_the_size_limit_and_are_numbered_from_the_first_index(samples, tmp_path):
    config = ShardConfig(megabytes=0.1)
    shards = list(write_shards(samples, tmp_path, "validation", 7, config))
    assert len(shards) > 2
    assert [shard.path.name for shard in shards][:2] == ["validation-000007.tar", "validation-000008.tar"]
    assert all(shard.entries[-1].offset + shard.entries[-1].bytes <= 100_000 for shard in shards)


def test_a_sample_larger_than_a_shard_gets_its_own_shard(samples, tmp_path):
    assert [shard.samples for shard in write(samples[:3], tmp_path, megabytes=0.001)] == [1, 1, 1]


def test_no_samples_make_no_shard(tmp_path):
    assert write([], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_complete_before_samples_of_the_next_are_read(samples, tmp_path):
    read_keys = []

    def stream():
        for sample in samples:
            read_keys.append(sample.key)
            yield sample

    shards = write_shards(stream(), tmp_path, "train", 0, ShardConfig(megabytes=0.1))
    first = next(shards)
    assert len(read_keys) == first.samples + 1
    assert first.path.stat().st_size == first.bytes
    shards.close()


def test_samples_are_shuffled_across_recordings_and_families(samples):
    indices = [int(sample.key.split("-")[1]) for sample in samples]
    assert indices != sorted(indices)
    assert len({sample.family for sample in samples[:8]}) > 1


def test_samples_out_of_order_or_duplicated_are_rejected(samples, tmp_path):
    with pytest.raises(ValueError, match="out of order"):
        write(samples[::-1], tmp_path)
    with pytest.raises(ValueError, match="duplicate"):
        write([samples[0], samples[0]], tmp_path)


def test_audio_is_stored_only_if_the_recipe_says_so(samples, tmp_path):
    speech, rate = soundfile.read(RECORDING, stop=20 * 16_000)

    def cut(sample: Sample) -> np.ndarray:
        starts = [int(clip.start) % 10 for clip in sample.audio]
        return np.concatenate([speech[start * rate : (start + 6) * rate] for start in starts])

    def flac(sample: Sample) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, cut(sample), rate, format="FLAC")
        return buffer.getvalue()

    (shard,) = write_shards(samples[:4], tmp_path, "train", 0, ShardConfig(keep_audio=True), flac)
    for row, sample in zip(rows([shard]), samples[:4], strict=True):
        audio, rate_in_shard = soundfile.read(io.BytesIO(row["flac"]))
        assert rate_in_shard == rate
        assert np.array_equal(audio, cut(sample))
    (shard,) = write_shards(samples[:4], tmp_path, "train", 0, ShardConfig(), flac)
    assert "flac" not in rows([shard])[0]


def test_samples_with_other_members_go_to_shards_of_their_own():
    ids = np.zeros(3, np.int32)
    text = Sample("a", "replay", {}, ids, ids.astype(np.uint8), ())
    speech = Sample("b", "tts", {}, ids, ids.astype(np.uint8), (Clip("a.wav", 0, 0.0, 1.0),))
    pair = Pair("c", {}, ids, ids, ids)
    assert [shard_prefix(sample, "train", True) for sample in (text, speech, pair)] == [
        "train-text",
        "train",
        "train-preference",
    ]
    assert [shard_prefix(sample, "validation", False) for sample in (text, speech, pair)] == [
        "validation",
        "validation",
        "validation-preference",
    ]


class TestSplit:
    SPLIT_BY = ShardConfig().split_by

    def test_all_recordings_of_a_speaker_are_in_one_group(self):
        groups = {
            group_of(recording, {"speaker": "s1", "source": recording}, self.SPLIT_BY) for recording in "abc"
        }
        assert len(groups) == 1

    def test_groups_fall_back_from_speaker_to_source_to_recording(self):
        assert group_of("a", {"source": "x"}, self.SPLIT_BY) == group_of("b", {"source": "x"}, self.SPLIT_BY)
        assert group_of("a", {}, self.SPLIT_BY) != group_of("b", {}, self.SPLIT_BY)
        assert group_of("a", {"speaker": "", "source": None}, self.SPLIT_BY) == group_of(
            "a", {}, self.SPLIT_BY
        )
        assert group_of("a", {"speaker": ["s1", "s2"]}, self.SPLIT_BY) == group_of(
            "b", {"speaker": ["s1", "s2"]}, self.SPLIT_BY
        )

    def test_a_speaker_a_source_and_a_recording_of_the_same_name_are_different_groups(self):
        groups = [
            group_of("x", sidecar, self.SPLIT_BY) for sidecar in ({}, {"speaker": "x"}, {"source": "x"})
        ]
        assert len(set(groups)) == 3

    def test_the_validation_share_is_approximately_met(self):
        splits = [split_of(f"recording:{n}", 0.1, 0) for n in range(5000)]
        assert 400 < splits.count("validation") < 600

    def test_a_larger_share_moves_no_group_out_of_validation(self):
        groups = [f"recording:{n}" for n in range(500)]
        small = {group for group in groups if split_of(group, 0.05, 0) == "validation"}
        large = {group for group in groups if split_of(group, 0.2, 0) == "validation"}
        assert small < large
        assert {split_of(group, 0.0, 0) for group in groups} == {"train"}

    def test_another_seed_gives_another_split(self):
        groups = [f"recording:{n}" for n in range(200)]
        assert [split_of(g, 0.2, 0) for g in groups] != [split_of(g, 0.2, 1) for g in groups]
