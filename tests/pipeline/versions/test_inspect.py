import json
import re

import pytest
import soundfile
import webdataset

from pipeline.versions.inspect import first_samples, look_up, token_strip
from schemas.errors import SetupError
from schemas.layout import read


def rows_of(version, table):
    with version.table(table) as found:
        return found.to_table().to_pylist()


@pytest.fixture
def index(version):
    return rows_of(version, "index")


def of_family(index, family):
    return next(row["key"] for row in index if row["family"] == family)


def test_the_first_samples_show_every_family(version, index):
    rows = first_samples(version, 12)
    assert len(version.manifest.samples) <= len(rows) <= 12
    assert {row["family"] for row in rows} == set(version.manifest.samples)
    assert all(row in index for row in rows)


def test_a_sample_is_what_webdataset_reads(version, index):
    wanted = {of_family(index, family) for family in version.manifest.samples}
    shards = [str(version.store.directory / version.path(shard.path)) for shard in version.manifest.shards]
    stored = webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=None, empty_check=False).decode()
    found = {sample["__key__"]: sample for sample in stored if sample["__key__"] in wanted}
    assert set(found) == wanted
    for key, sample in found.items():
        seen = look_up(version, key)
        assert seen.row["key"] == key
        assert seen.record == sample["json"]
        assert seen.tokens == sample["tokens.npy"].tolist()
        assert seen.loss == sample["loss.npy"].tolist()


def test_the_strip_of_an_answer_shows_ten_text_tokens_then_fifteen_codes(version, index, vocabulary):
    answers = [row["key"] for row in index if row["family"] == "aqtaa"]
    strips = []
    for key in answers:
        sample = look_up(version, key)
        strip = token_strip(sample.tokens, version.manifest.vocabulary)
        assert len(strip) == len(sample.tokens)
        strips.append("".join(glyph for _, glyph in strip).rpartition("BOT")[2])
        assert read(sample.tokens, vocabulary)[-1].role == "assistant"
    long = [strip for strip in strips if strip.count("t") > 25]
    assert long
    for strip in long:
        assert re.match(r"t{10,}⟨(LLSSS){3}t{10}(LLSSS){1,3}", strip)


def test_a_turn_names_the_samples_that_use_it(version, index):
    turn = next(row for row in rows_of(version, "turns") if row["status"] == "used")
    found = look_up(version, turn["key"])
    assert found.row == turn
    assert found.samples
    assert all(sample["key"].startswith(turn["key"][:16]) for sample in found.samples)
    single = {f"{turn['key']}-{family}" for family in ("asr", "tts")}
    assert single & {row["key"] for row in index} <= {sample["key"] for sample in found.samples}


def test_a_recording_has_its_turns_and_samples_and_what_was_set_aside(version, index):
    for recording in {row["recording"] for row in rows_of(version, "set_aside")}:
        found = look_up(version, recording)
        assert found.turns == [row for row in rows_of(version, "turns") if row["recording"] == recording]
        assert len(found.samples) == sum(row["recording"] == recording for row in index)
        assert found.set_aside


def test_a_misspelt_name_gets_the_nearest(version, index):
    recording = index[0]["recording"]
    wrong = recording.rpartition("/")[2].replace("0", "O").replace("e", "ee")
    with pytest.raises(SetupError, match=re.escape(f"similar: {recording}")):
        look_up(version, wrong)
    with pytest.raises(SetupError, match=r"similar: .*-00"):
        look_up(version, index[0]["key"][:12])


def test_the_command_shows_people_everything(version, index, small_build, command):
    listed = command("inspect", small_build.dataset)
    assert listed.code == 0
    assert of_family(index, "aqtaa") in listed.stdout

    key = of_family(index, "aqtaa")
    shown = command("inspect", small_build.dataset, key).stdout
    sample = look_up(version, key)
    assert sample.record["source"]["recording"] in shown
    for message in sample.record["messages"]:
        for part in message["content"]:
            assert part["text"].split()[0] in shown
    assert "⟨LLSSS×" in shown
    assert "dnsmos_overall" in shown

    aside = next(row for row in rows_of(version, "set_aside") if row["turn"] is None)
    assert aside["message"] in command("inspect", small_build.dataset, aside["recording"]).stdout.replace(
        "\n", ""
    )


def test_the_command_gives_machines_one_object(version, index, small_build, command):
    assert (
        json.loads(command("inspect", small_build.dataset, "--json").stdout)["samples"]
        == version.manifest.samples
    )
    key = index[0]["key"]
    found = json.loads(command("inspect", small_build.dataset, key, "--json").stdout)
    assert found["tokens"] == look_up(version, key).tokens
    turn = rows_of(version, "turns")[0]
    assert json.loads(command("inspect", small_build.dataset, turn["key"], "--json").stdout)["row"] == turn


def test_an_unknown_key_is_one_clear_line(small_build, command):
    done = command("inspect", small_build.dataset, "nothing-like-it-at-all")
    assert done.code == 1
    assert done.stderr.count("\n") == 1
    assert "no sample, turn or recording" in done.stderr


def test_what_was_set_aside_is_shown_and_can_be_listened_to(version, small_build, command, tmp_path):
    codes = set(version.manifest.set_aside)
    listed = json.loads(command("inspect", small_build.dataset, "--set-aside", "--json").stdout)["set_aside"]
    assert {f"{reason['stage']}/{reason['code']}" for reason in listed} == codes
    done = command("inspect", small_build.dataset, "--set-aside", "--audio", tmp_path / "clips", "--json")
    for reason in json.loads(done.stdout)["set_aside"]:
        for example in reason["examples"]:
            if example.get("file"):
                assert soundfile.info(example["file"]).duration > 0.1
            else:
                assert example["unheard"]
    (page,) = [row for row in rows_of(version, "set_aside") if "html" in row["recording"]]
    shown = command("inspect", small_build.dataset, "--set-aside", page["code"], "--audio", tmp_path / "one")
    assert "it can't be decoded" in shown.stdout


def test_a_reason_that_there_is_not_and_audio_without_reasons_are_refused(version, small_build, command):
    done = command("inspect", small_build.dataset, "--set-aside", "no_such_code")
    assert done.code == 1
    assert sorted(version.manifest.set_aside)[0] in done.stderr
    assert command("inspect", small_build.dataset, "--audio", "clips").code == 2
    assert command("inspect", small_build.dataset, "a-key", "--set-aside").code == 2
