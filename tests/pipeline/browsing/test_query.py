"""What DuckDB answers is what plain Python counts, over turns as a build writes them."""

import json
import math
import random
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.browsing.filters import (
    BROWSED,
    CATEGORIES,
    LIMIT_COLUMNS,
    MovedThreshold,
    MovedTurns,
    Order,
    OtherVersion,
    TurnFilter,
)
from pipeline.browsing.query import turn_tables
from schemas.arrow import table_of
from schemas.recording import QualityMeasures
from schemas.turn import TurnRow
from stages.select import LIMITS, SelectConfig, select, would_keep
from tests.paths import FIXTURES
from tests.stages.annotated import a_turn

SELECT = SelectConfig(dnsmos_overall_min=2.0, words_min=2, singing={"dnsmos_overall_min": 1.5})
TEXTS = (
    "I have lived here all my life",
    "Good morning",
    "Nein, ÄRGERLICH ist's",
    "我们 在这里 well-known",
    "...",
    "O'Brien_1",
)


def turns(number, seed):
    """Annotated turns, good and bad, spoken and sung, some without measures."""
    chance = random.Random(seed)
    for at in range(number):
        unmeasured = chance.random() < 0.1
        turn = a_turn(
            start=10.0 * at,
            end=10.0 * at + chance.uniform(0.3, 9),
            speaker=chance.choice("AB"),
            index=at,
            recording=f"calls/{at // 20}.wav",
            text=chance.choice(TEXTS),
            language=chance.choice(("en", "de")),
            overlapped=chance.random() < 0.1,
            dnsmos_overall=None if unmeasured else chance.uniform(1, 4),
            speech_share=chance.uniform(0.2, 1),
            average_log_probability=chance.uniform(-1.5, 0),
            loudness_lufs=-math.inf if unmeasured else chance.uniform(-50, -10),
        )
        yield replace(turn, sings=at % 4 == 0)


def row_of(turn):
    problem = select(turn, SELECT)
    where = turn.turn
    return TurnRow(
        **{"key": turn.key, "recording": turn.recording, "index": turn.index},
        **{"start": where.start, "end": where.end, "speaker": where.speaker, "track": where.track},
        status="set_aside" if problem else "used" if turn.index % 3 else "eligible",
        stage="select" if problem else None,
        code=problem and problem.code,
        message=problem and problem.message,
        text=turn.transcript.text,
        language=turn.transcript.language,
        transcript=turn.transcript,
        assessment=turn.assessment,
        linguistic_codes=0,
        semantic_codes=0,
        source="model",
        voice_similarity=where.voice_similarity,
        sings=turn.sings,
    )


ANNOTATED = list(turns(120, seed=1))
ROWS = [row_of(turn) for turn in ANNOTATED]
LATER = [row_of(turn) for turn in turns(100, seed=2)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turns")
    files = []
    for name, rows in (("one", ROWS), ("two", LATER)):
        pq.write_table(table_of(TurnRow, rows), folder / f"{name}.parquet", row_group_size=50)
        files.append((nullcontext(folder / f"{name}.parquet"), SELECT))
    with turn_tables(files) as opened:
        yield opened


@pytest.fixture
def table(tables):
    return tables[0]


def value_of(row, column):
    if column == "seconds":
        return row.end - row.start
    outer, _, inner = column.partition(".")
    value = getattr(row, outer)
    return getattr(value, inner) if inner and value is not None else value


def is_number(value):
    return value is not None and math.isfinite(value)


def category_of(row, name):
    return (f"{row.stage}/{row.code}" if row.stage else "") if name == "reason" else getattr(row, name) or ""


def meets(row, wanted):
    """Whether a row is among those of a filter, without a comparison or a threshold."""
    for column, (low, high) in wanted.ranges.items():
        value = value_of(row, column)
        if (low is not None and (value is None or value < low)) or (
            high is not None and (value is None or value > high)
        ):
            return False
    if any(category_of(row, name) not in values for name, values in wanted.among.items()):
        return False
    text = wanted.text.lower()
    return text in (row.text or "").lower() or text in row.recording.lower()


RANGES = st.dictionaries(
    st.sampled_from(("seconds", "assessment.dnsmos_overall", "transcript.average_log_probability")),
    st.tuples(st.none() | st.floats(-2, 9), st.none() | st.floats(-2, 9)),
)
AMONG = st.fixed_dictionaries(
    {},
    optional={
        "status": st.lists(st.sampled_from(("used", "eligible", "set_aside"))).map(tuple),
        "reason": st.lists(st.sampled_from(("", "select/too_short", "select/poor_quality"))).map(tuple),
        "speaker": st.lists(st.sampled_from(("A", "B", "'; DROP TABLE turns_0; --"))).map(tuple),
    },
)
FILTERS = st.builds(
    TurnFilter,
    ranges=RANGES,
    among=AMONG,
    text=st.sampled_from(("", "GOOD", "ärger", "'", "calls/1", "%", "没")),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=FILTERS)
def test_count_table_and_charts_agree_with_plain_python(table, wanted):
    expected = [row for row in ROWS if meets(row, wanted)]
    amount = table.count(wanted)
    assert amount.turns == len(expected)
    assert amount.seconds == pytest.approx(sum(row.end - row.start for row in expected))
    shown = [row for offset in (0, 50, 100) for row in table.rows(wanted, Order(), offset, 50)]
    assert [row["key"] for row in shown] == [row.key for row in expected]
    charts = table.charts(wanted)
    for column, bins in charts.histograms.items():
        assert sum(bins) == sum(is_number(value_of(row, column)) for row in expected)
    for name in CATEGORIES:
        assert sum(charts.values[name].values()) == len(expected)


def test_a_histogram_counts_values_in_their_bins_and_others_at_its_ends(table):
    measure = BROWSED["assessment.dnsmos_overall"]
    expected = [0] * measure.bins
    for row in ROWS:
        if (value := value_of(row, measure.column)) is not None:
            at = math.floor((value - measure.low) / ((measure.high - measure.low) / measure.bins))
            expected[min(max(at, 0), measure.bins - 1)] += 1
    assert table.whole_charts().histograms[measure.column] == expected
    assert sum(expected) < len(ROWS)  # some have no measure


def test_values_of_a_category_are_counted_the_most_frequent_first(table):
    counted = table.whole_charts().values["reason"]
    assert counted == {
        reason: sum(category_of(row, "reason") == reason for row in ROWS) for reason in counted
    }
    assert all(a >= b for a, b in pairwise(counted.values()))


@pytest.mark.parametrize("descending", [False, True])
def test_an_order_by_a_measure_puts_turns_without_it_last(table, descending):
    rows = table.rows(
        TurnFilter(), Order(by="assessment.dnsmos_overall", descending=descending), 0, len(ROWS)
    )
    values = [row["ordered"] for row in rows]
    measured = [value for value in values if value is not None]
    assert measured == sorted(measured, reverse=descending)
    assert set(values[len(measured) :]) == {None}


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("dnsmos_overall_min", 1.2),
        ("dnsmos_overall_min", 3.1),
        ("dnsmos_overall_min", None),
        ("seconds_min", 0.4),
        ("seconds_max", 4.0),
        ("words_min", 1),
        ("words_min", 4),
        ("speech_share_min", 0.1),
        ("average_log_probability_min", -0.2),
    ],
)
def test_a_moved_threshold_brings_and_loses_what_the_next_build_would(table, limit, value):
    moved = SELECT.model_copy(update={limit: value})
    kept = {turn.key for turn in ANNOTATED if select(turn, SELECT) is None}
    then = {turn.key for turn in ANNOTATED if select(turn, moved) is None}
    amounts = table.moved(MovedThreshold(limit=limit, value=value))
    for side, expected in (("comes", then - kept), ("goes", kept - then)):
        wanted = TurnFilter(moved=MovedTurns(limit=limit, value=value, side=side))
        assert {row["key"] for row in table.rows(wanted, Order(), 0, 200)} == expected
        assert amounts[side].turns == len(expected)
    (would,) = would_keep(ANNOTATED, SELECT, limit, [value])
    assert would.turns == len(kept) + amounts["comes"].turns - amounts["goes"].turns


def test_every_threshold_of_select_can_be_moved():
    assert LIMIT_COLUMNS.keys() == LIMITS.keys()
    for limit, (_, _, measure) in LIMITS.items():
        column = LIMIT_COLUMNS[limit]
        if column != "words":
            for turn, row in zip(ANNOTATED, ROWS, strict=True):
                assert measure(turn) == value_of(row, column), limit


def test_every_measure_of_a_turn_can_be_filtered():
    named = {column.partition(".")[2] for column in BROWSED if column.startswith("assessment.")}
    assert named == set(QualityMeasures.__dataclass_fields__) - {"melody", "heard", "key"}


def test_two_versions_are_compared_by_the_place_of_a_turn(tables):
    place = lambda row: (row.recording, row.track, row.start, row.end)  # noqa: E731
    later = {place(row): row.status for row in LATER}
    for how, expected in (
        ("only_here", [row.key for row in ROWS if place(row) not in later]),
        ("other_status", [row.key for row in ROWS if later.get(place(row), row.status) != row.status]),
    ):
        wanted = TurnFilter(comparison=OtherVersion(with_version=1, how=how))
        assert [row["key"] for row in tables[0].rows(wanted, Order(), 0, 200, tables)] == expected
        assert tables[0].count(wanted, tables).turns == len(expected)


def test_a_turn_is_found_by_its_key_with_the_turns_around_it(table):
    turn = table.turn(ROWS[30].key)
    assert turn["transcript"]["text"] == ROWS[30].text
    around = table.of_recording(turn["recording"], turn["start"], 3)
    assert [row["index"] for row in around] == [29, 30, 31]
    assert table.turn("none") is None


def test_the_loudness_of_silence_is_no_number_in_json(table):
    silent = next(row for row in ROWS if row.assessment.loudness_lufs == -math.inf)
    order = Order(by="assessment.loudness_lufs")
    for answer in (
        table.turn(silent.key),
        table.rows(TurnFilter(), order, 0, 200),
        table.span("loudness_min"),
    ):
        json.dumps(answer, allow_nan=False)


def test_a_version_of_an_earlier_release_lacks_columns_and_opens():
    (path,) = FIXTURES.glob("dataset-0.1.0/before/versions/*/turns.parquet")
    with turn_tables([(nullcontext(path), SelectConfig())]) as (table,):
        assert table.whole.turns == 8
        assert sum(table.whole_charts().histograms["speaker_margin"]) == 0
        assert table.count(TurnFilter(text="REAL-TIME")).turns == 2
        assert table.moved(MovedThreshold(limit="seconds_min", value=0.5))["comes"].turns == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"ranges": {"1); DROP TABLE turns_0": [0, 1]}},
        {"among": {"text": ["a"]}},
        {"moved": {"limit": "languages", "value": 1, "side": "goes"}},
        {"ranges": {"seconds": [float("nan"), None]}},
        {"where": "true"},
        {"text": "a" * 201},
    ],
)
def test_only_known_names_and_plain_values_are_filters(asked):
    with pytest.raises(ValidationError):
        TurnFilter.model_validate(asked)
