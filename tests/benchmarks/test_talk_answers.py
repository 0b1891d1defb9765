"""The measures by which a talk model is judged."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks.talk_answers import Judged, obeys, report_of, sounding, table, wilson

RATE = 16_000
PLAIN = Judged(
    voice="af_heart",
    number=0,
    family="again in a style",
    style=None,
    question="Say that again.",
    said="It's green.",
    heard="It's green.",
    right=True,
    written_right=True,
    wrong_words=0,
    words=2,
    seconds=1.0,
    level=-25.0,
    plain=(1.0, -20.0),
    styled=None,
    first_sound=0.8,
    reason="end",
)
"""5 dB below the assistant's own voice, as all answers of this vocoder."""
SLOW = replace(PLAIN, style="slow", styled=(1.4, -20.0))
LOUD = replace(PLAIN, style="loud", styled=(1.0, -12.0))


def test_an_interval_is_wilsons():
    assert wilson(90, 100) == pytest.approx([0.9, 0.8256, 0.9448], abs=1e-4)
    assert wilson(0, 0) == [0.0, 0.0, 1.0]


def test_an_answer_sounds_from_its_first_to_its_last_loud_frame():
    tone = np.sin(np.arange(RATE) / 5).astype(np.float32) / 10
    silence = np.zeros(RATE // 2, np.float32)
    seconds, level = sounding(np.concatenate([silence, tone, silence]), RATE)
    assert seconds == pytest.approx(1.0, abs=0.03)
    assert level == pytest.approx(20 * math.log10(0.1 / math.sqrt(2)), abs=0.3)
    assert sounding(silence, RATE) == (0.0, None)


@pytest.mark.parametrize(
    ("judged", "obeyed"),
    [
        (replace(SLOW, seconds=1.3), True),
        (replace(SLOW, seconds=1.1), False),
        (replace(SLOW, seconds=0.7), False),
        (replace(LOUD, level=-18.0), True),  # 7 dB above what this vocoder makes of the plain voice
        (replace(LOUD, level=-22.0), False),
        (replace(LOUD, seconds=0.0, level=None), False),
        (replace(PLAIN, style="happy", styled=(0.8, -20.0)), None),
        (PLAIN, None),
    ],
)
def test_a_style_is_obeyed_where_it_is_nearer_than_the_plain_voice(judged, obeyed):
    assert obeys(judged, 0.0, -5.0) is obeyed


def test_a_softer_vocoder_does_not_obey_softer():
    soft = replace(PLAIN, number=1, style="soft", styled=(1.0, -26.0), right=False, first_sound=None)
    report = report_of([PLAIN, soft])
    assert report["all"]["obeyed"][0] == 0.0
    assert report["voices"]["af_heart"]["right"][0] == 0.5
    assert report["all"]["first_sound"] == [0.8, 0.8]
    assert report_of([PLAIN, replace(PLAIN, first_sound=1.0)])["all"]["first_sound"] == [0.9, 1.0]
    assert "| af_heart | 2 | 50% (9% to 91%) |" in "\n".join(table(report))
