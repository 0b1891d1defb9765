import pytest

from pipeline.export import parts
from pipeline.export.parts import parts_of


@pytest.mark.parametrize(("recordings", "seconds"), [(1, 1e9), (2, 1e9), (1000, 5), (1000, 1e9)])
def test_every_turn_is_in_one_part(spoken, turns, monkeypatch, recordings, seconds):
    monkeypatch.setattr(parts, "RECORDINGS", recordings)
    monkeypatch.setattr(parts, "SECONDS", seconds)
    with spoken.table("turns") as table:
        made = list(parts_of(table, None))
        read = [table.to_table(filter=part.rows(None)).to_pylist() for part in made]
    assert [part.number for part in made] == list(range(len(made)))
    assert [row for rows in read for row in rows] == [row for rows in turns.values() for row in rows]
    for rows in read:
        assert len({row["recording"] for row in rows}) <= recordings
    for rows in read[:-1]:
        last = rows[-1]["recording"]
        before = [row["end"] - row["start"] for row in rows if row["recording"] != last]
        assert sum(before) < seconds
