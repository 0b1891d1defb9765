"""The tables of a version are read by the libraries that people look at tables with."""

import pytest

pandas = pytest.importorskip("pandas")


@pytest.fixture
def table(spoken):
    with spoken.local("turns.parquet") as path:
        yield str(path)


@pytest.fixture
def kept(turns):
    """Key -> (text, DNSMOS) of turns that were not set aside."""
    rows = [row for rows in turns.values() for row in rows if row["status"] != "set_aside"]
    return {row["key"]: (row["text"], row["assessment"]["dnsmos_overall"]) for row in rows}


def test_pandas(table, kept):
    found = pandas.read_parquet(table)
    found = found[found["status"] != "set_aside"]
    scores = [measures["dnsmos_overall"] for measures in found["assessment"]]
    assert dict(zip(found["key"], zip(found["text"], scores, strict=True), strict=True)) == kept


def test_duckdb(table, kept):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(
        f"SELECT key, text, assessment.dnsmos_overall FROM '{table}' WHERE status <> 'set_aside'"
    ).fetchall()
    assert {key: (text, score) for key, text, score in rows} == kept


def test_polars(table, kept):
    polars = pytest.importorskip("polars")
    found = polars.read_parquet(table).filter(polars.col("status") != "set_aside")
    scores = polars.col("assessment").struct.field("dnsmos_overall")
    rows = found.select("key", "text", scores).rows()
    assert {key: (text, score) for key, text, score in rows} == kept
