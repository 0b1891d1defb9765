"""Audio of what was set aside."""

import base64
import io

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import soundfile

from pipeline.report.rejected import CLIPS_PER_REASON, SECONDS_MAX, choose, rejected_clips
from schemas.arrow import table_of
from schemas.turn import SetAsideRow, TurnRow
from stages.stage import SAMPLE_RATE


def aside(recording, turn, code="short", start=0.0, end=1.0):
    return SetAsideRow(recording, turn, start, end, "select", code, f"{code} it is")


def a_turn(recording, index, start=0.0, end=1.0, track=0):
    key = f"{recording}-{index}"
    return TurnRow(
        key, recording, index, start, end, "A", track, "set_aside", "select", "short", "short it is",
        f"words {index}", "en", None, None, 0, 0,
    )  # fmt: skip


def table(record, rows):
    return ds.dataset(table_of(record, rows))


def test_up_to_ten_clips_of_each_reason_spread_over_recordings():
    rows = [aside(f"{r:02d}.wav", t, start=t, end=t + 1.0) for r in range(30) for t in range(20)]
    chosen = choose(table(SetAsideRow, [*rows, aside("x.wav", 0, "fast")]))
    short = chosen["select", "short"]
    assert len(short) == len({row["recording"] for row in short}) == CLIPS_PER_REASON
    assert len(chosen["select", "fast"]) == 1
    few = choose(table(SetAsideRow, rows[:20]))["select", "short"]
    assert len(few) == CLIPS_PER_REASON, "one recording can fill them"


def test_reasons_share_their_recordings():
    rows = [aside(f"{r:02d}.wav", t, code) for r in range(99) for t, code in enumerate(("short", "fast"))]
    chosen = choose(table(SetAsideRow, rows))
    assert len({row["recording"] for found in chosen.values() for row in found}) == CLIPS_PER_REASON


@pytest.mark.parametrize("size", [1, 7, 600])
def test_the_choice_does_not_depend_on_batches(size):
    whole = table_of(SetAsideRow, [aside(f"{n % 40:02d}.wav", n) for n in range(600)])
    pieces = ds.dataset(pa.Table.from_batches(whole.to_batches(max_chunksize=size), whole.schema))
    assert choose(pieces) == choose(ds.dataset(whole))


def test_a_clip_is_the_turn_with_a_little_context_on_its_track():
    requested = []

    def clip(recording, track, start, end):
        requested.append((recording, track, start, end))
        return np.full(round((end - start) * SAMPLE_RATE), 0.1, np.float32)

    rows = [aside("a.wav", 2, start=5.0, end=6.0), aside("b.wav", None, "silent", 0.0, 100.0)]
    turns = table(TurnRow, [a_turn("a.wav", 2, 5.0, 6.0, track=1)])
    found = rejected_clips(table(SetAsideRow, rows), turns, clip)
    assert sorted(requested) == [("a.wav", 1, 4.75, 6.25), ("b.wav", 0, 0.0, SECONDS_MAX)]
    [one] = found["select", "short"]
    assert (one.text, one.speaker, one.message) == ("words 2", "A", "short it is")
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(one.audio)))
    assert len(samples) / SAMPLE_RATE == pytest.approx(1.5, abs=0.15)


def test_what_has_no_audio_is_left_out():
    rows = [aside("a.wav", None, "unreadable", None, None), aside("b.wav", 0)]
    found = rejected_clips(table(SetAsideRow, rows), table(TurnRow, []), lambda *_: None)
    assert found == {("select", "short"): []}
