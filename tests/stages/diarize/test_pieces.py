"""Voices in pieces of turns: whether a turn is of one voice, and how clearly of its speaker."""

import numpy as np
import pytest

from schemas.recording import Turn
from stages.diarize.clustering import unit
from stages.diarize.pieces import READ_AT_ONCE, VoicePieces, along, joined_pieces, measured, voices_of

ANNA, BEN = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])


def turn(start: float, end: float, speaker: str = "anna", overlapped: bool = False) -> Turn:
    return Turn(start, end, speaker, 0, overlapped)


def pieces(*voices: np.ndarray) -> VoicePieces:
    """Pieces of 1.5 s from the start, with these voices."""
    edges = 1.5 * np.arange(len(voices) + 1)
    return VoicePieces(np.stack([edges[:-1], edges[1:]], axis=1), unit(np.array(voices)))


def measure(turns, of, voices=None):
    return measured(turns, {0: of}, voices if voices is not None else voices_of(turns, {0: of}))


def test_a_turn_of_one_voice_is_similar_throughout():
    (one,) = measure([turn(0, 4.5)], pieces(ANNA, ANNA, ANNA))
    assert one.voice_similarity == 1


def test_a_turn_that_changes_voice_is_not():
    (one,) = measure([turn(0, 4.5)], pieces(ANNA, ANNA, BEN))
    assert one.voice_similarity == 0  # Ben's piece and the rest


def test_only_pieces_that_are_mostly_within_the_turn_tell_of_it():
    (one,) = measure([turn(0, 3.4)], pieces(ANNA, ANNA, BEN))
    assert one.voice_similarity == 1


def test_a_turn_of_a_single_piece_has_no_similarity():
    (one,) = measure([turn(0, 1.5)], pieces(ANNA))
    assert one.voice_similarity is None


def test_the_margin_is_that_over_the_most_similar_other_speaker():
    turns = [turn(0, 1.5), turn(1.5, 3, "ben")]
    voices = {"anna": ANNA, "ben": BEN, "cleo": unit(np.array([1.0, 1.0, 0.0]))}
    anna, ben = measure(turns, pieces(ANNA, BEN), voices)
    assert anna.speaker_margin == ben.speaker_margin == pytest.approx(1 - 0.5**0.5, abs=1e-3)


def test_two_speakers_of_one_voice_have_no_margin():
    turns = [turn(0, 1.5), turn(1.5, 3, "ben")]
    assert [t.speaker_margin for t in measure(turns, pieces(ANNA, ANNA))] == [0, 0]


def test_the_only_speaker_has_no_margin_to_others():
    (one,) = measure([turn(0, 3)], pieces(ANNA, ANNA))
    assert one.speaker_margin is None


def test_pieces_along_turns_cover_them_and_leave_out_overlaps():
    read: list[tuple[int, float, float]] = []

    def embedding(samples):
        return np.tile(ANNA, (len(samples), 1))

    def reader(track, start, end):
        read.append((track, start, end))
        return np.zeros(round((end - start) * 16_000), np.float32)

    turns = [turn(0, 200), turn(200, 203, overlapped=True), Turn(1, 2, "ben", 1, False)]
    found = along(turns, embedding, reader)
    assert found[0].times[0, 0] == 0
    assert found[0].times[-1, 1] == 200
    assert np.diff(found[0].times).max() <= 1.6
    assert len(found[0].times) > READ_AT_ONCE
    assert found[1].times.tolist() == [[1, 2]]
    assert all(end <= 200 for _, _, end in read)


def test_pieces_of_windows_are_joined_on_the_recordings_clock():
    both = joined_pieces([(0.0, pieces(ANNA)), (600.0, pieces(BEN))])
    assert both.times.tolist() == [[0, 1.5], [600, 601.5]]
    assert both.embeddings.tolist() == [ANNA.tolist(), BEN.tolist()]
