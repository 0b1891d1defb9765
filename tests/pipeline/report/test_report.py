"""The report and the card of a real build."""

import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import soundfile

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.report.card import card
from pipeline.report.charts import ticks
from pipeline.report.facts import families, reasons, turn_facts
from pipeline.report.listen import SAMPLES_SHOWN, mp3, pick, sample_cards
from pipeline.report.page import render
from pipeline.report.recording_audio import RecordingAudio
from pipeline.report.sample_parts import stored_parts
from pipeline.versions.provenance import select_of
from schemas.arrow import from_row
from schemas.recording import UNKNOWN_SPEAKER, Problem, QualityMeasures, Transcript, Turn
from schemas.turn import AnnotatedTurn
from stages.decode import DecodeConfig
from stages.select import LIMITS, would_keep
from stages.stage import SAMPLE_RATE


@pytest.fixture(scope="module")
def tables(version):
    found = {}
    for name in ("turns", "set_aside", "index"):
        with version.table(name) as table:
            found[name] = ds.dataset(table.to_table())
    return found


@pytest.fixture(scope="module")
def facts(version, tables):
    return turn_facts(tables["turns"], select_of(version.manifest))


@pytest.fixture(scope="module")
def html(version):
    with version.local("report.html") as path:
        return path.read_text(encoding="utf-8")


def in_pieces(table, size):
    whole = table.to_table()
    return ds.dataset(pa.Table.from_batches(whole.to_batches(max_chunksize=size), whole.schema))


def rows_of(table):
    return table.to_table().to_pylist()


def seconds(rows):
    return sum(row["end"] - row["start"] for row in rows)


def test_the_facts_add_up_to_the_turns(facts, tables, version):
    rows = rows_of(tables["turns"])
    for status in ("used", "eligible", "set_aside"):
        assert facts.seconds[status] == pytest.approx(seconds(r for r in rows if r["status"] == status))
    assert facts.seconds["used"] + facts.seconds["eligible"] == pytest.approx(
        version.manifest.kept_seconds, abs=0.01
    )
    assert sum(language.turns for language in facts.languages.values()) == len(rows)
    lengths = facts.histograms[0]
    assert lengths.kept.sum() + lengths.aside.sum() == pytest.approx(seconds(rows))
    speakers: dict[str, set[str]] = {row["recording"]: set() for row in rows}
    for row in rows:
        if row["speaker"] != UNKNOWN_SPEAKER:
            speakers[row["recording"]].add(row["speaker"])
    assert facts.speakers == Counter(map(len, speakers.values()))


def test_a_histogram_contains_the_measured_values(facts, tables):
    rows = [
        row for row in rows_of(tables["turns"]) if (row["assessment"] or {}).get("dnsmos_overall") is not None
    ]
    [drawn] = [h for h in facts.histograms if h.measure.column == "assessment.dnsmos_overall"]
    assert drawn.kept.sum() == pytest.approx(seconds(row for row in rows if row["status"] != "set_aside"))
    assert drawn.aside.sum() == pytest.approx(seconds(row for row in rows if row["status"] == "set_aside"))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_batches_make_no_difference(facts, tables, version, size):
    pieces = turn_facts(in_pieces(tables["turns"], size), select_of(version.manifest))
    assert pieces.speakers == facts.speakers
    assert pieces.languages.keys() == facts.languages.keys()
    assert [curve.hours.sum() for curve in pieces.curves] == pytest.approx(
        [c.hours.sum() for c in facts.curves]
    )
    for name in ("set_aside", "index"):
        count = {"set_aside": reasons, "index": families}[name]
        assert [repr(item)[:20] for item in count(in_pieces(tables[name], size))] == [
            repr(item)[:20] for item in count(tables[name])
        ]


def test_a_curve_passes_through_the_amount_kept_now(facts, version):
    assert facts.curves
    for curve in facts.curves:
        assert curve.limit is not None
        now = np.interp(curve.limit, curve.values, curve.hours) * 3600
        assert now == pytest.approx(version.manifest.kept_seconds, rel=0.05)


def annotated(row):
    """The turn as select saw it."""
    measured = {
        name: from_row(record, row[name]) if row[name] else None
        for name, record in {"transcript": Transcript, "assessment": QualityMeasures}.items()
    }
    before = row["stage"] not in (None, "select")
    return AnnotatedTurn(
        recording=row["recording"],
        index=row["index"],
        metadata={},
        decoded=None,
        turn=Turn(
            row["start"],
            row["end"],
            row["speaker"],
            row["track"],
            row["code"] == "overlapped",
            voice_similarity=row["voice_similarity"],
        ),
        codes=None,
        stage=row["stage"] if before else None,
        problem=Problem(row["code"], row["message"], row["index"]) if before else None,
        **measured,
    )


def test_a_curve_agrees_with_select(facts, tables, version):
    turns = [annotated(row) for row in rows_of(tables["turns"])]
    select = select_of(version.manifest)
    for curve in facts.curves:
        values = [float(value) for value in curve.values[::8]]
        kept = [kept.seconds for kept in would_keep(turns, select, curve.field, values)]
        assert [hours * 3600 for hours in curve.hours[::8]] == pytest.approx(kept), curve.field


def test_a_stricter_limit_never_keeps_more(facts):
    for curve in facts.curves:
        falls = np.diff(curve.hours) * (-1 if curve.field.endswith("_min") else 1)
        assert (falls >= -1e-12).all()
        assert curve.field in LIMITS


def test_reasons_and_families_agree_with_the_manifest(tables, version):
    counted = {f"{r.stage}/{r.code}": r.recordings + r.turns for r in reasons(tables["set_aside"])}
    assert counted == version.manifest.set_aside
    assert all(reason.example and reason.where for reason in reasons(tables["set_aside"]))
    assert {f.name: f.samples.total() for f in families(tables["index"])} == version.manifest.samples
    tokens = version.manifest.tokens
    assert sum(f.text for f in families(tables["index"])) == tokens["text"]
    assert sum(f.semantic for f in families(tables["index"])) == tokens["semantic"]


def test_samples_to_listen_to_are_spread_over_families_and_languages(tables):
    index = rows_of(tables["index"])
    picked = pick(tables["index"], 1)
    assert len({row["key"] for row in picked}) == min(SAMPLES_SHOWN, len(index))
    groups = {(row["family"], row["language"]) for row in index}
    assert len({(row["family"], row["language"]) for row in picked}) == min(SAMPLES_SHOWN, len(groups))
    assert picked == pick(in_pieces(tables["index"], 5), 1)


def no_parts(row):
    return []


def test_a_sample_is_played_with_its_context(tables):
    picked = pick(tables["index"], 1)
    requested = []

    def clip(recording, track, start, end):
        requested.append((recording, track, start, end))
        return np.sin(np.arange(round((end - start) * SAMPLE_RATE), dtype=np.float32) / 20) / 10

    for shown in sample_cards(picked, tables["turns"], clip, no_parts):
        assert shown.turns
        assert shown.start <= shown.turns[0]["start"]
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(shown.audio)))
        assert rate == SAMPLE_RATE
        assert len(samples) / rate == pytest.approx(shown.end - shown.start, abs=0.2)
        assert {turn["speaker"] for turn in shown.turns} <= set(shown.lanes)
    assert {recording for recording, *_ in requested} == {row["recording"] for row in picked}
    assert all(shown.audio is None for shown in sample_cards(picked, tables["turns"], silent, no_parts))


def test_cards_show_prompt_and_target_of_the_stored_samples(version, tables):
    parts_of = stored_parts(version.store, version.path())
    shown = {row["family"]: parts_of(row) for row in pick(tables["index"], 1)}
    [prompt, target] = [part for part in shown["asr"] if part.kind == "audio" or part.target]
    assert (prompt.kind, prompt.target, prompt.role) == ("audio", False, "human")
    assert (target.kind, target.target, target.role) == ("text", True, "assistant")
    assert prompt.text == target.text
    assert prompt.seconds > 0
    assert [part.kind for part in shown["tts"] if part.target] == ["audio"]


def test_mp3_is_small_and_reproducible():
    noise = np.random.default_rng(0).normal(0, 0.02, 20 * SAMPLE_RATE).astype(np.float32)
    assert mp3(noise) == mp3(noise)
    assert len(mp3(noise)) < 90_000


def silent(recording, track, start, end):
    return None


NO_AUDIO = RecordingAudio(SpooledAudio(Path("no-such-folder"), DecodeConfig(), "f"), lambda recording: None)


class Page(HTMLParser):
    """Collects everything that a page would fetch, and checks that all elements are closed."""

    VOID = frozenset(("meta", "link", "img", "br", "hr", "input"))

    def __init__(self):
        super().__init__()
        self.addresses = []
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_self_contained(html):
    page = Page()
    page.feed(html)
    assert page.open == []
    assert page.addresses
    browse = "http://127.0.0.1:8091/#turn="  # followed by readers, not fetched
    assert all(address.startswith(("#", "data:", browse)) for address in page.addresses)
    assert any(address.startswith(browse) for address in page.addresses)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", html)
    assert len(html) < 3_000_000


def test_the_page_shows_the_contents_of_the_version(html, version, tables):
    manifest = version.manifest
    for text in (
        manifest.dataset,
        manifest.version,
        *manifest.samples,
        *(m.reference for m in manifest.models),
    ):
        assert text in html
    for reason in reasons(tables["set_aside"]):
        assert reason.code in html
    cards, clips = html.count('class="heard"'), html.count('class="clip"')
    assert cards > 0
    assert clips > 0
    assert html.count("<audio") == cards + clips
    assert html.count('class="tag target">target') > cards


def test_the_page_is_the_same_every_time(version, tables, facts):
    class Quiet(RecordingAudio):
        def turn(self, recording, track, start, end):
            return np.zeros(SAMPLE_RATE, np.float32)

        def first(self, recording, seconds):
            return 0.0, np.zeros(SAMPLE_RATE, np.float32)

    quiet = Quiet(None, None)
    in_tables = (tables["turns"], tables["set_aside"], tables["index"])
    arguments = (version.manifest, facts, *in_tables, quiet, no_parts)
    assert render(*arguments) == render(*arguments)


def test_transcripts_are_escaped(version, tables, facts):
    turns = tables["turns"].to_table()
    at = turns.schema.get_field_index("text")
    nasty = pa.array(["</p><script>alert(1)</script>"] * turns.num_rows)
    spoilt = ds.dataset(turns.set_column(at, "text", nasty))
    page = render(version.manifest, facts, spoilt, tables["set_aside"], tables["index"], NO_AUDIO, no_parts)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_an_empty_version_has_a_page_too(version, tables):
    none = {name: ds.dataset(table.to_table().slice(0, 0)) for name, table in tables.items()}
    empty = turn_facts(none["turns"], select_of(version.manifest))
    page = render(
        version.manifest, empty, none["turns"], none["set_aside"], none["index"], NO_AUDIO, no_parts
    )
    assert "Nothing: every recording and every turn was kept." in page
    assert card(version.manifest, empty)


def test_the_example_in_the_card_reads_the_version(version, monkeypatch):
    text = (version.store.directory / version.path("README.md")).read_text()
    assert version.id in text
    for model in version.manifest.models:
        assert model.licence in text
    for licence in version.manifest.licences:
        assert licence in text
    [snippet] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(version.store.directory / version.path())
    seen = {}
    exec(snippet + "    seen[record['family']] = seen.get(record['family'], 0) + 1\n", {"seen": seen})
    assert sum(seen.values()) == version.manifest.splits["train"]


@pytest.mark.parametrize(("low", "high"), [(1, 4.5), (-60, 0), (0, 0.01), (60, 400), (0.0003, 0.9), (5, 5)])
def test_axes_have_a_few_round_numbers(low, high):
    marks = ticks(low, high, 6)
    assert 1 <= len(marks) <= 6
    assert all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks)
    assert all(len(f"{mark:.6g}") <= 6 for mark in marks)


def test_the_card_shows_how_far_two_recognisers_agree(version, tables):
    rows = rows_of(tables["turns"])
    heard = [row for row in rows if row["transcript"]]
    rates = [0.1 * (n % 4) for n in range(len(heard))]
    for row, rate in zip(heard, rates, strict=True):
        row["transcript"]["disagreement"] = rate
    compared = ds.dataset(pa.Table.from_pylist(rows, tables["turns"].schema))
    facts = turn_facts(compared, select_of(version.manifest))
    kept = [(row, rate) for row, rate in zip(heard, rates, strict=True) if row["status"] != "set_aside"]
    mean = sum(seconds([row]) * rate for row, rate in kept) / seconds([row for row, _ in kept])
    assert facts.agreement.mean == pytest.approx(mean)
    assert facts.agreement.kept_share == pytest.approx(seconds([row for row, _ in kept]) / seconds(heard))
    assert f"error rate between them {100 * mean:.1f} % in the turns kept" in card(version.manifest, facts)
    assert "disagreement_max" in {curve.field for curve in facts.curves}


def test_the_card_counts_the_styles_that_are_heard(version, facts):
    styles = {"slow/confirmed": 7, "slow/refused": 2, "sad/not_measured": 3}
    text = card(version.manifest.model_copy(update={"styles": styles}), facts)
    assert "| slow | 9 | 7 | 2 | 0 |" in text
    assert "| sad | 3 | 0 | 0 | 3 |" in text
    assert "synthesised in a style" not in card(version.manifest, facts)


def test_the_card_of_one_recogniser_does_not_speak_of_two(version, facts):
    assert "two recognisers" not in card(version.manifest, facts)
