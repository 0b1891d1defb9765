"""A build over recordings with companions of every kind, good and bad: it goes on, and its counts add up."""

import json
import os
import re
import unicodedata
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from pipeline.build.dry_run import preview
from pipeline.config.recipe import load
from pipeline.planning.plan import make_plan
from schemas.companions import read
from schemas.text_files import decoded
from tests.paths import DEMO

RATE, SECONDS = 16_000, 11.0
TURNS = (
    ("A", 0.5, 3.5, "alpha one words here"),
    ("B", 4.0, 7.0, "bravo two words here"),
    ("A", 7.5, 10.5, "alpha three words here"),
)
TEXTS = [text for *_, text in TURNS]
NFD = unicodedata.normalize("NFD", "société")


def stm(name, *more):
    rows = (f"{name} 1 {who} {start} {end} <o> {text}" for who, start, end, text in TURNS)
    return "\n".join((*rows, *more, ""))


def srt():
    cue = "{}\n00:00:{:06.3f} --> 00:00:{:06.3f}\n{}\n\n"
    return "".join(cue.format(n, s, e, text) for n, (_, s, e, text) in enumerate(TURNS, 1)).replace(".", ",")


def ctm(name, channels):
    return ";; words\n" + "".join(
        f"{name} {channel} {start + 0.1 + at * 0.7:.2f} 0.60 {word} <NA>\n"
        for channel, (_, start, _, text) in zip(channels, TURNS, strict=True)
        for at, word in enumerate(text.split())
    )


def jsonl(texts):
    rows = zip(TURNS, texts, strict=True)
    return "\n".join(
        json.dumps({"start": s, "end": e, "speaker": who, "text": text}, ensure_ascii=False)
        for (who, s, e, _), text in rows
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two readings as a call and as one track, with companions of many kinds, and entries that are none."""
    folder = tmp_path_factory.mktemp("given") / "in"
    folder.mkdir()
    a, b = (
        sf.read(DEMO / "monologues" / name, dtype="float32")[0]
        for name in ("1998-15444-0004.flac", "1688-142285-0003.flac")
    )
    sound = np.zeros((round(SECONDS * RATE), 2), np.float32)
    for (who, start, end, _), samples in zip(TURNS, (a, b, a[3 * RATE :]), strict=True):
        first, length = round(start * RATE), round((end - start) * RATE)
        sound[first : first + length, "AB".index(who)] = samples[:length]
    noise = np.random.default_rng(2).standard_normal(sound.shape).astype("float32") * 3e-4
    call, mono = sound + 0.08 * sound[:, ::-1] + noise, sound.sum(axis=1) + noise[:, 0]

    def write(name, samples, companion="", text="", encoding="utf-8"):
        with (folder / name).open("wb") as file:
            sf.write(file, samples, RATE, format="WAV", subtype="PCM_16")
        if companion:
            (folder / companion).write_bytes(text.encode(encoding))

    rttm = "".join(f"SPEAKER x 1 {s} {e - s} <NA> <NA> {who} <NA> <NA>\n" for who, s, e, _ in TURNS)
    write("all_one.wav", call, "all_one.rttm", rttm)
    write("from_zero.wav", call, "from_zero.ctm", ctm("from_zero", (0, 1, 0)))
    write("unnamed.wav", call, "unnamed.jsonl", jsonl(["alpha one\u2028words here", *TEXTS[1:]]))
    write("UPPER.WAV", mono, "upper.STM", stm("UPPER"), "utf-16")
    write(f"{NFD}.wav", mono, "SOCIÉTÉ.srt", srt())
    write("bad_line.wav", mono, "bad_line.stm", stm("bad_line", "so what", "bad_line 1 A 11.6 12.2 <o> late"))
    (folder / "bad_line.rttm").write_text(rttm)
    write("refused.wav", mono, "refused.stm", "no line is good\n")
    write(os.fsdecode(b"lat\xe9.wav"), np.zeros(3 * RATE))
    write("take#2", np.full(RATE, 0.0))
    (folder / "page.flac").write_text("<html>")
    (folder / "typo.vtt").write_text("WEBVTT\n")
    (folder / "loop").symlink_to(".")
    (folder / "nowhere.wav").symlink_to("missing.wav")
    os.mkfifo(folder / "pipe.wav")
    return folder


@pytest.fixture(scope="module")
def recipe(folder):
    file = folder.parent / "recipe.yaml"
    file.write_text(
        "name: given\ninputs: [in]\noutput: out\ndiarize: {existing: use}\n"
        "transcribe: {existing: use, model: 'package:whisper-tiny-en'}\nshard: {validation_share: 0}\n"
    )
    return file


def test_the_dry_run_says_which_companions_are_used_and_which_are_left(recipe):
    text = preview(make_plan(load(recipe))).text
    for line in (
        "companions  1 ctm used for turns: from_zero.ctm",
        "companions  3 stm used for turns: upper.STM, bad_line.stm, refused.stm",
        "companions  1 rttm left, as another kind is preferred: bad_line.rttm",
        "companions  1 left, as no recording has their name: typo.vtt",
    ):
        assert line in text
    ignoring = preview(
        make_plan(load(recipe, ["diarize.existing=ignore", "transcribe.existing=ignore"]))
    ).text
    assert "companions  1 srt left, as `diarize.existing` is `ignore`: SOCIÉTÉ.srt" in ignoring


@pytest.mark.slow
def test_the_build_goes_on_and_everything_is_counted(folder, recipe, command, tmp_path):
    built = command("build", recipe, "--json")
    assert built.code == 0, built.stderr
    counts = json.loads(built.stdout)
    dataset = folder.parent / "out" / "given"
    version = dataset / "versions" / counts["version"]
    manifest = json.loads((version / "manifest.json").read_text())

    rows = pq.read_table(version / "set_aside.parquet").to_pylist()
    whole = {row["recording"]: row["code"] for row in rows if row["turn"] is None and row["line"] is None}
    assert whole | {"take#2": None, "lat\\xe9.wav": None} == {
        "loop": "link_loop",
        "nowhere.wav": "dangling_link",
        "pipe.wav": "not_a_file",
        "page.flac": "unreadable",
        "refused.wav": "bad_companion",
        "lat\\xe9.wav": None,
        "take#2": None,
    }
    assert {"lat\\xe9.wav", "take#2"} <= set(whole), "silent, and named"
    assert manifest["recordings"] == {"in": 13, "kept": 6, "set_aside": len(whole)}
    (line,) = [row for row in rows if row["line"] is not None]
    assert (line["recording"], line["code"], line["line"]) == ("bad_line.wav", "bad_line", 4)
    assert manifest["set_aside"] == dict(Counter(f"{row['stage']}/{row['code']}" for row in rows))
    assert command("versions", "verify", dataset).code == 0

    turns = pq.read_table(version / "turns.parquet").to_pylist()
    assert manifest["turns"]["diarized"] == len(turns)
    by_recording = {}
    for turn in turns:
        by_recording.setdefault(turn["recording"], []).append(turn)
    for name in ("all_one.wav", "from_zero.wav", "unnamed.wav"):
        assert [turn["channel"] for turn in by_recording[name]] == [1, 2, 1], name
    for name in ("from_zero.wav", "unnamed.wav", "UPPER.WAV", f"{NFD}.wav"):
        said = [re.sub(r"\s", " ", turn["text"]) for turn in by_recording[name]]
        assert said == TEXTS, name
    assert {turn["speaker"] for turn in by_recording[f"{NFD}.wav"]} == {"somebody"}
    assert [turn["source"] for turn in by_recording["bad_line.wav"]] == ["stm"] * 4
    assert (by_recording["bad_line.wav"][3]["status"], by_recording["bad_line.wav"][3]["code"]) == (
        "set_aside", "after_the_end"
    )  # fmt: skip

    assert manifest["companions"] == {
        "ctm/used": 1, "jsonl/used": 1, "rttm/less_preferred": 1, "rttm/used": 1, "srt/used": 1,
        "stm/bad_companion": 1, "stm/used": 2,
    }  # fmt: skip
    page = (version / "report.html").read_text()
    assert "1 left, as no recording has their name: typo.vtt" in page
    assert "it can&#39;t be decoded" in page

    heard = json.loads(
        command("inspect", dataset, "--set-aside", "--audio", tmp_path / "clips", "--json").stdout
    )["set_aside"]
    by_code = {reason["code"]: reason["examples"] for reason in heard}
    assert by_code["bad_companion"][0]["file"] == str(tmp_path / "clips" / "diarize-bad_companion-01.mp3")
    assert sf.info(by_code["bad_companion"][0]["file"]).duration > 5
    assert by_code["link_loop"][0]["unheard"].startswith("it can't be decoded: it is a link")
    assert by_code["after_the_end"][0]["unheard"] == "there is no sound at these times"
    one = command("inspect", dataset, "--set-aside", "bad_line")
    assert "bad_line.stm, line 4: an STM line has at least 5 fields, this one 2" in one.stdout

    for kind in ("rttm", "stm", "jsonl"):
        command("export", dataset, "--format", kind, "--to", tmp_path / kind)
        for name, of in by_recording.items():
            written = decoded((tmp_path / kind / f"{name}.{kind}").read_bytes())
            again = read(kind, written, f"{name}.{kind}", name)
            assert again.aside == ()
            assert again.notes == ()
            assert [(s.start, s.speaker, s.channel) for s in again.segments] == [
                (pytest.approx(turn["start"], abs=1e-3), turn["speaker"], str(turn["channel"] or 1))
                for turn in of
            ]
