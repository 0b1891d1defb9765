"""Turns to listen to for each label."""

from dataclasses import replace

import pyarrow.dataset as ds
import pytest

from pipeline.report.labelled import CLIPS_PER_LABEL, LABELS_SHOWN, labelled_clips
from schemas.arrow import table_of
from schemas.recording import HeardLabel
from schemas.turn import TurnRow
from tests.pipeline.report.test_rejected import Audio as HeardAudio
from tests.stages.annotated import a_turn


class Audio(HeardAudio):
    def clip(self, recording, track, start, end):
        return self.turn(recording, track, start, end)


def row(index, styles=(), heard=(), status="used"):
    annotated = a_turn(5.0 * index, 5.0 * index + 9, heard=tuple(HeardLabel(*label, 0.9) for label in heard))
    return TurnRow(
        f"key-{index:05d}", "call.wav", index, annotated.turn.start, annotated.turn.end, "A", 0, status, None,
        None, None, "words", "en", None, annotated.assessment, 0, 0, styles=styles,
    )  # fmt: skip


def clips_of(rows, audio=None, size=None):
    table = table_of(TurnRow, rows)
    return labelled_clips(ds.dataset(table.to_batches(max_chunksize=size)), audio or Audio())


def test_each_label_has_ten_turns_of_its_own():
    rows = [
        row(
            n, [("slow/confirmed",), ("slow/refused",), ()][n % 3], [("sound", ("Speech", "Laughter")[n % 2])]
        )
        for n in range(60)
    ]
    found = clips_of(rows, audio := Audio())
    assert [(label.label, label.turns, len(label.clips)) for label in found] == [
        ("slow, confirmed", 20, CLIPS_PER_LABEL),
        ("slow, refused", 20, CLIPS_PER_LABEL),
        ("sound: Laughter", 30, CLIPS_PER_LABEL),
        ("sound: Speech", 30, CLIPS_PER_LABEL),
    ]
    assert all(clip.row["index"] % 3 == 0 for clip in found[0].clips)
    assert {end - start for _, _, start, end in audio.requested} == {6.0}
    assert all(clip.audio for label in found for clip in label.clips)


@pytest.mark.parametrize("size", [1, 7, 600])
def test_the_turns_do_not_depend_on_batches(size):
    rows = [row(n, ("sad/confirmed",)) for n in range(40)]
    assert clips_of(rows, size=size) == clips_of(rows)


def test_sounds_of_what_was_set_aside_are_left_out_and_its_styles_are_not():
    rows = [replace(row(0, ("loud/refused",), [("sound", "Music")]), status="set_aside")]
    assert [label.label for label in clips_of(rows)] == ["loud, refused"]


def test_the_most_frequent_labels_are_shown():
    rows = [row(n, (), [("sound", f"sound {n % 40:02d}")]) for n in range(40 * 2 - 10)]
    found = clips_of(rows)
    assert [label.label for label in found] == [f"sound: sound {n:02d}" for n in range(LABELS_SHOWN)]


def test_a_turn_that_cannot_be_read_is_told():
    class Gone(Audio):
        def clip(self, *_):
            return None

    (label,) = clips_of([row(0, ("slow/confirmed",))], Gone())
    assert [clip.audio for clip in label.clips] == [None]
