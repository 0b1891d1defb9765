"""Records survive a round trip through Arrow tables."""

from dataclasses import fields, is_dataclass

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas import recording as r
from schemas.arrow import from_row, schema_of, struct_of, table_of

codes = st.lists(st.integers(0, 4095), max_size=20).map(tuple)
number = st.floats(allow_nan=False, allow_infinity=False)
problems = st.lists(
    st.builds(r.Problem, st.text(), st.text(), st.none() | st.integers(0, 99)), max_size=3
).map(tuple)
recordings = st.builds(
    r.Recording,
    id=st.text(),
    uri=st.text(),
    bytes=st.integers(0, 2**60),
    etag=st.text(),
    sidecar=st.just("{}"),
    companions=st.lists(st.builds(r.Companion, st.text(), st.text(), st.text()), max_size=2).map(tuple),
    decode=st.none() | st.builds(r.DecodeColumn, st.none(), problems),
    diarize=st.none()
    | st.builds(
        r.DiarizeColumn,
        st.builds(
            r.Diarization,
            st.text(),
            st.just(()),
            st.lists(st.builds(r.Speaker, st.text(), number, st.lists(number, max_size=3).map(tuple))).map(
                tuple
            ),
            st.lists(
                st.builds(
                    r.Turn, number, number, st.text(), st.integers(0, 7), st.booleans(), st.none() | st.text()
                )
            ).map(tuple),
        ),
    ),
    transcribe=st.none(),
    quality=st.none(),
    tokenize=st.none()
    | st.builds(
        r.TokenizeColumn, st.lists(st.none() | st.builds(r.Codes, codes, codes), max_size=3).map(tuple)
    ),
)


@given(st.lists(recordings, max_size=3))
def test_records_survive_a_round_trip(values):
    assert [from_row(r.Recording, row) for row in table_of(r.Recording, values).to_pylist()] == values


def test_a_column_that_is_entirely_null_keeps_its_type():
    empty = table_of(r.Recording, [r.Recording("a", "u", 1, "e", "{}")])
    assert empty.schema == schema_of(r.Recording)
    assert not any(pa.types.is_null(field.type) for field in empty.schema)


def test_each_stage_of_annotate_has_the_column_of_its_name():
    owned = {f.name for f in fields(r.Recording)} & set(r.STAGES)
    assert owned == set(r.STAGES)
    for stage, column in r.COLUMNS.items():
        assert is_dataclass(column)
        assert schema_of(r.Recording).field(stage).type == struct_of(column)


def test_codes_take_two_bytes():
    assert struct_of(r.Codes).field("linguistic").type == pa.list_(pa.int16())
