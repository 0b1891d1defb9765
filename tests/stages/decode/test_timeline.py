"""Pieces of audio stand where the clock of their container says."""

import numpy as np
import pytest

from schemas.errors import DataError
from stages.decode.notes import MOST_NOTES, Notes
from stages.decode.timeline import MOST_SILENCE, Piece, Silence, Timeline

RATE, SIZE = 8000, 800
YEARS = 3.0e8


def placed(times, zero=0.0, rates=None, channels=None):
    """Place pieces of 0.1 s, the n-th full of n, at given times; returns the blocks and the notes."""
    notes = Notes()
    timeline = Timeline(notes)
    pieces = [
        Piece(
            np.full(((rates or {}).get(n, RATE) // 10, (channels or {}).get(n, 1)), n, np.float32),
            (rates or {}).get(n, RATE),
            time,
        )
        for n, time in enumerate(times, 1)
    ]
    out = list(timeline.place(pieces, zero))
    seconds = sum(b.samples if isinstance(b, Silence) else len(b) for b in out) / RATE
    assert timeline.seconds == pytest.approx(seconds)
    assert timeline.sound + timeline.silence == pytest.approx(seconds * RATE)
    return timeline, out, notes.listed()


def row(start, number):
    return [start + 0.1 * n for n in range(number)]


def heard(out):
    """The numbers of the pieces that are heard, in order, each once; a gap is its seconds as text."""
    numbers = []
    for block in out:
        number = f"{block.samples / RATE:g} s" if isinstance(block, Silence) else int(block[0, 0])
        if not numbers or numbers[-1] != number:
            numbers.append(number)
    return numbers


@pytest.mark.parametrize("gap", [0.2, 70.0, 20_000.0])
def test_a_gap_of_any_length_is_silence(gap):
    _, out, [note] = placed(row(0, 3) + row(0.3 + gap, 3))
    assert heard(out) == [1, 2, 3, f"{gap:g} s", 4, 5, 6]
    assert (note.kind, note.start, note.seconds) == ("gap", pytest.approx(0.3), pytest.approx(gap))


def test_a_late_start_is_silence_and_recorded_as_the_offset():
    timeline, out, notes = placed(row(4, 3))
    assert heard(out) == ["4 s", 1, 2, 3]
    assert timeline.offset == 4
    assert notes == ()


def test_jitter_of_the_clock_moves_nothing_but_lost_packets_add_up():
    _, out, notes = placed([0, 0.14, 0.2, 0.35, 0.4])
    assert (heard(out), notes) == ([1, 2, 3, 4, 5], ())
    _, out, [note] = placed([n * 0.14 for n in range(6)])
    assert heard(out) == [1, 2, 3, "0.12 s", 4, 5, 6]
    assert note.kind == "gap"


def test_what_repeats_what_came_before_is_left_out():
    _, out, [note] = placed(row(0, 5) + row(0.2, 6))
    assert heard(out) == [1, 2, 3, 4, 5, 9, 10, 11]
    assert (note.kind, note.seconds) == ("overlap", pytest.approx(0.3))


def test_nothing_is_lost_when_the_clock_is_set_back():
    _, out, [note] = placed(row(10, 15) + row(0, 5), zero=10.0)
    assert heard(out) == list(range(1, 21))
    assert (note.kind, note.start) == ("clock", pytest.approx(1.5))
    assert "set back by 11.5 s" in note.message


def test_a_clock_that_jumps_by_years_makes_no_spool_of_years():
    _, out, [note] = placed(row(0, 3) + row(YEARS, 3))
    assert heard(out) == [1, 2, 3, 4, 5, 6]
    assert "jumps ahead by 299,999,999.7 s" in note.message
    assert placed(row(YEARS, 3))[0].seconds == pytest.approx(0.3)


def test_the_silence_of_one_recording_is_bounded():
    third = MOST_SILENCE / 3
    timeline, _, notes = placed([t for n in range(6) for t in row(n * third * 0.9, 2)])
    assert timeline.silence / RATE < MOST_SILENCE
    assert [note.kind for note in notes] == ["gap"] * 3 + ["clock"] * 2


@pytest.mark.parametrize("wrong", [YEARS, 36_000.0, 0.5, -1000.0])
@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_single_damaged_time_stamp_is_ignored(wrong, index):
    times = row(0, 5)
    times[index] = wrong
    _, out, notes = placed(times)
    assert heard(out) == [1, 2, 3, 4, 5]
    assert [note.kind for note in notes] in ([], ["clock"])


def test_a_start_that_is_late_by_less_than_the_jitter_is_exact():
    _, out, _ = placed(row(0.04, 3))
    assert heard(out) == ["0.04 s", 1, 2, 3]


def test_audio_before_zero_is_kept():
    timeline, out, _ = placed(row(-0.25, 3))
    assert heard(out) == [1, 2, 3]
    assert timeline.offset == 0


def test_audio_of_another_format_becomes_that_of_the_first():
    changed = range(11, 31)
    _, out, [note, back] = placed(
        [None] * 40, rates=dict.fromkeys(changed, 11_025), channels=dict.fromkeys(changed, 2)
    )
    samples = np.concatenate(out)
    assert samples.shape == (pytest.approx(4.0 * RATE, abs=15), 1)
    assert np.allclose(samples[round(1.55 * RATE)], 16, atol=0.2)
    assert np.allclose(samples[-SIZE:], 40)
    assert (note.kind, note.start) == ("format", pytest.approx(1.0))
    assert "from 8000 Hz, 1 channel to 11025 Hz, 2 channels" in note.message
    assert back.start == pytest.approx(3.0, abs=0.001)


def test_a_gap_between_two_formats_is_exact():
    times = row(0, 5) + row(70.5, 5)
    timeline, _, notes = placed(times, rates=dict.fromkeys(range(6, 11), 16_000))
    assert timeline.seconds == pytest.approx(71.0, abs=0.001)
    assert [note.kind for note in notes] == ["format", "gap"]


def test_several_channels_are_mixed_to_their_mean():
    notes = Notes()
    stereo = np.stack([np.full(SIZE, 0.2), np.full(SIZE, 0.6)], axis=1).astype(np.float32)
    mono = np.zeros((SIZE, 1), np.float32)
    out = list(Timeline(notes).place([Piece(mono, RATE, None), Piece(stereo, RATE, None)], None))
    assert np.allclose(out[1], 0.4)
    out = list(Timeline(notes).place([Piece(stereo, RATE, None), Piece(mono + 0.3, RATE, None)], None))
    assert np.allclose(out[1], [0.3, 0.3])


def test_a_part_goes_on_where_the_last_one_ended():
    timeline = Timeline(Notes())
    for first in (0.0, 500.0):
        pieces = [Piece(np.ones((SIZE, 1), np.float32), RATE, time) for time in row(first, 5)]
        assert not [b for b in timeline.place(pieces, 0.0 if first == 0 else None) if isinstance(b, Silence)]
    assert timeline.seconds == pytest.approx(1.0)


def test_an_implausible_sample_rate_is_refused():
    with pytest.raises(DataError, match="sample rate of 10 Hz"):
        placed([None], rates={1: 10})


def test_the_notes_of_a_recording_are_bounded():
    times = [t for n in range(500) for t in row(n * 10.0, 2)]
    _, _, notes = placed(times)
    assert len(notes) == MOST_NOTES + 1
    assert (
        notes[-1].message
        == f"{499 - MOST_NOTES} more of this kind, {(499 - MOST_NOTES) * 9.8:.1f} s together"
    )
    assert sum(note.seconds for note in notes) == pytest.approx(499 * 9.8)
