"""Audio of what was set aside."""

import base64
import io

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import soundfile

from pipeline.inputs.first_sound import first_sound
from pipeline.report.facts import reasons
from pipeline.report.rejected import CLIPS_PER_REASON, SECONDS_MAX, choose, rejected_clips
from schemas.arrow import table_of
from schemas.errors import DataError
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


class Audio:
    """Stands for `RecordingAudio`: remembers what was asked for."""

    def __init__(self, seconds=None, error=None):
        self.requested, self.seconds, self.error = [], seconds, error

    def turn(self, recording, track, start, end):
        self.requested.append((recording, track, start, end))
        return self.samples(end - start)

    def first(self, recording, seconds):
        self.requested.append((recording, seconds))
        return 1.5, self.samples(seconds)

    def samples(self, seconds):
        if self.error:
            raise self.error
        length = seconds if self.seconds is None else self.seconds
        return np.full(round(length * SAMPLE_RATE), 0.1, np.float32)


def test_a_clip_is_the_turn_with_a_little_context_on_its_track():
    audio = Audio()
    rows = [aside("a.wav", 2, start=5.0, end=6.0), aside("b.wav", None, "silent", 0.0, 100.0)]
    turns = table(TurnRow, [a_turn("a.wav", 2, 5.0, 6.0, track=1)])
    found = rejected_clips(table(SetAsideRow, rows), turns, audio)
    assert sorted(audio.requested, key=str) == [("a.wav", 1, 4.75, 6.25), ("b.wav", SECONDS_MAX)]
    [one] = found["select", "short"]
    assert (one.text, one.speaker, one.message) == ("words 2", "A", "short it is")
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(one.base64)))
    assert len(samples) / SAMPLE_RATE == pytest.approx(1.5, abs=0.15)
    [whole] = found["select", "silent"]
    assert (whole.start, whole.end) == (1.5, 1.5 + SECONDS_MAX), "from the first sound"


def test_a_recording_that_decode_set_aside_is_heard_as_far_as_it_can_be_decoded():
    row = SetAsideRow("a.wav", None, None, None, "decode", "truncated", "it is cut")
    [[heard]] = rejected_clips(table(SetAsideRow, [row]), table(TurnRow, []), Audio(seconds=2)).values()
    assert heard.audio
    broken = Audio(error=DataError("unreadable", "it is a web page"))
    [[unheard]] = rejected_clips(table(SetAsideRow, [row]), table(TurnRow, []), broken).values()
    assert (unheard.audio, unheard.unheard) == (None, "it can't be decoded: it is a web page")


def test_a_turn_after_the_end_is_named_without_sound():
    rows = table(SetAsideRow, [aside("a.wav", 0, "after_the_end", 15.6, 16.2)])
    [[one]] = rejected_clips(rows, table(TurnRow, []), Audio(seconds=0)).values()
    assert (one.audio, one.unheard) == (None, "there is no sound at these times")


def test_lines_of_companions_and_rows_of_text_have_no_sound():
    rows = [
        SetAsideRow("a.wav", None, None, None, "diarize", "bad_line", "a.stm, line 3: so", line=3),
        SetAsideRow("chats.jsonl:3", None, None, None, "texts", "bad_json", "no JSON"),
    ]
    assert rejected_clips(table(SetAsideRow, rows), table(TurnRow, []), Audio()) == {}


def test_lines_are_counted_apart_from_turns_and_recordings():
    rows = [
        SetAsideRow("a.wav", None, None, None, "diarize", "bad", "a.stm, line 3: so", line=3),
        SetAsideRow("a.wav", 1, 1.0, 2.0, "diarize", "bad", "so"),
        SetAsideRow("b.wav", None, None, None, "diarize", "bad", "so"),
        SetAsideRow("c.wav", None, None, None, "diarize", "bad", "so"),
    ]
    [reason] = reasons(table(SetAsideRow, rows))
    assert (reason.lines, reason.turns, reason.recordings) == (1, 1, 2)


def write(path, *parts):
    soundfile.write(path, np.concatenate(parts), 8000)
    return path


def test_the_first_sound_of_a_recording_is_found_after_silence(tmp_path):
    tone = 0.3 * np.sin(np.arange(40_000) * 0.5)
    stereo = np.stack([0.001 * tone, tone], axis=1)
    path = write(tmp_path / "late.wav", np.zeros((160_000, 2)), stereo)
    start, samples = first_sound(path, 2.0)
    assert start == pytest.approx(20.0, abs=0.3)
    assert len(samples) == 2 * SAMPLE_RATE
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


def test_a_silent_recording_is_heard_as_it_is_and_a_broken_one_is_told(tmp_path):
    start, samples = first_sound(write(tmp_path / "silent.wav", np.zeros(80_000)), 6.0)
    assert (start, len(samples)) == (0.0, 6 * SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("<html>")
    with pytest.raises(DataError):
        first_sound(tmp_path / "text.wav", 6.0)
