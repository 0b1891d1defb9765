"""The page of `aqaa-data serve` in a headless browser: it is spoken to, heard and looked at."""

import base64
import io
import json
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import av
import numpy as np
import pytest
import soundfile

from pipeline.inference.answer_vocoder import AudioChunk
from pipeline.inference.question_recogniser import QuestionRecogniser
from pipeline.serving.api_keys import ApiKeys
from pipeline.serving.model import PCM_RATE, Limits, PromptReady, ServedModel
from pipeline.serving.page import page_and_policy
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.train.sampling import Answer, TextPiece
from tests.benchmarks.talk_speakers import speaker_of, spoken
from tests.browser import TIMEOUT, Tab, browser
from tests.pipeline.tiny_models import QUESTION, SHORT
from tests.pipeline.tiny_server import SPOKEN, closing_connection, serving

JOE = "package:piper-joe"
ASKED = "What is the opposite of cold?"
ANSWERED = "The opposite of cold is hot."
BLOCK = 0.36
"""Seconds of sound that arrive at a time."""
PICTURES = os.environ.get("TALK_PICTURES")
"""Folder for the pictures that are taken, such as docs/images; by default they are thrown away."""
LIMITS = Limits(4000, 60, 4)
MICROPHONE = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
"""The microphone is a file played in a loop, and permission to use it is granted without a prompt."""

WATCH = """lengths = [];
new MutationObserver(() => lengths.push(document.querySelector(".transcript span")?.textContent.length ?? 0))
  .observe(document.getElementById("turns"), {subtree: true, childList: true, characterData: true});
"""
"""Notes how many letters of the answer were shown as spoken, from time to time."""
NOTES = """notes = [];
for (const note of document.querySelectorAll(".waiting .note"))
  new MutationObserver(() => notes.push(note.textContent)).observe(note, {childList: true});
"""
"""Notes what is said of an answer that is waited for."""


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """The question and the answer as a packaged voice says them."""
    folder = tmp_path_factory.mktemp("voices")
    return [spoken(speaker_of(JOE, folder), text, JOE) for text in (ASKED, ANSWERED)]


@pytest.fixture(scope="module")
def question(voices, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("question") / "question.wav"
    around = np.zeros(round(0.3 * voices[0].rate), np.float32)
    soundfile.write(file, np.concatenate([around, voices[0].samples, around]), voices[0].rate)
    return file


class Prepared(ServedModel):
    """Gives one answer to everything, a block at a time, and notes what it was asked."""

    def prepare(self, speech: SynthesizedAudio) -> None:
        self.samples = resample(speech, PCM_RATE)
        self.requests: list = []

    def answer(self, request, id):
        self.requests.append(request)
        yield PromptReady(5, 40, 2.0)
        for word in re.findall(r"\s*\S+", ANSWERED):
            yield TextPiece(word)
        for block in np.array_split(self.samples, round(len(self.samples) / PCM_RATE / BLOCK)):
            time.sleep(BLOCK / 2)
            yield AudioChunk(block)
        yield Answer(np.array([self.vocabulary.eot], np.int32), ANSWERED, (), "end")


@pytest.fixture(scope="module")
def prepared(answerer, answer_vocoder, voices):
    model = Prepared("talk", answerer, answer_vocoder, LIMITS, rows=2, recogniser=QuestionRecogniser())
    model.prepare(voices[1])
    with serving(model) as server:
        yield model, f"http://127.0.0.1:{server.port}/"


@contextmanager
def opened(folder, url, microphone=SHORT):
    """The page in a tab."""
    with browser(folder, *MICROPHONE, f"--use-file-for-fake-audio-capture={microphone}") as open_tab:
        tab = open_tab()
        tab.call("Page.navigate", url=url)
        yield tab


def text_of(selector):
    return f"document.querySelector({json.dumps(selector)})?.textContent"


def answered(tab: Tab, count: int) -> None:
    """Wait until so many answers are complete and heard."""
    tab.until(
        f"document.querySelectorAll('[aria-label=answer]').length === {count} && !current.answer.playing.size"
    )
    assert tab.value(text_of("#error")) == ""


def nothing_forbidden(tab: Tab, url: str) -> None:
    """Nothing was loaded from other hosts, and nothing violated the policy."""
    requests = [event["request"]["url"] for event in tab.parameters("Network.requestWillBeSent")]
    assert [address for address in requests if not address.startswith((url, f"blob:{url}", "data:"))] == []
    assert tab.parameters("Runtime.exceptionThrown") == []
    entries = [event["entry"]["text"] for event in tab.parameters("Log.entryAdded")]
    assert [text for text in entries if not re.search("status of (400|401|429)", text)] == []


def words(text):
    return re.findall("[a-z]+", text.lower())


def picture(tab: Tab, name: str, folder: Path) -> None:
    """Take one, which must show more than an empty sheet."""
    file = Path(PICTURES or folder) / name
    tab.picture(file)
    with av.open(str(file)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="gray")
    assert len(np.unique(pixels)) > 50
    assert pixels.std() > 5


def test_a_conversation_is_spoken_and_heard(tmp_path, prepared, question):
    model, url = prepared
    with opened(tmp_path, url, question) as tab:
        tab.show(1000, 720)
        tab.until(f"{text_of('#model')} === 'talk' && {text_of('#voice')} === 'default'")
        tab.value(WATCH)
        # Held while the question is spoken, with a level that moves.
        tab.pointer("mousePressed", "#record")
        tab.until("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
        tab.until("Number(document.getElementById('meter').getAttribute('aria-valuenow')) > 50")
        time.sleep(1.3 * soundfile.info(question).duration)
        tab.pointer("mouseReleased", "#record")
        # The words darken while they are spoken.
        answered(tab, 1)
        lengths = tab.value("lengths")
        assert lengths == sorted(lengths)
        assert len({0, len(ANSWERED)} | set(lengths)) > 2
        assert tab.value(text_of(".coming")) == ""
        assert tab.value(text_of(".transcript")) == ANSWERED
        # The server wrote down what it was asked, and this is sent with the next question.
        heard = tab.until(text_of(".heard"))
        assert len(set(words(heard)) & set(words(ASKED))) >= 4, heard
        tab.type("#text", "Say that again.")
        answered(tab, 2)
        earlier, answer, written = model.requests[-1].messages
        assert (earlier.content[0].text, written.content[0].text) == (heard, "Say that again.")
        assert (answer.role, answer.audio.transcript) == ("assistant", ANSWERED)
        # What reached the page is what was spoken.
        samples = np.array(tab.value("Array.from(current.answer.sound.samples)"), np.float32)
        file = tmp_path / "answer.wav"
        soundfile.write(file, resample(SynthesizedAudio(samples, PCM_RATE), SAMPLE_RATE), SAMPLE_RATE)
        assert len(set(words(model.recogniser.words(file)[0])) & set(words(ANSWERED))) >= 4
        said = tab.value(text_of(".answered .note"))
        first, whole = map(
            float, re.search(r"first sound after (\S+) s, complete after (\S+) s", said).groups()
        )
        assert 0 < first < whole
        # An answer is played again, and the picture follows.
        tab.value("document.querySelector('.answered button').click()")
        tab.until("[...sounds].find(sound => sound.label === 'answer').share % 1 > 0")
        tab.value("hush(), document.activeElement.blur()")
        picture(tab, "talk.png", tmp_path)
        tab.show(390, 844, dark=True)
        assert tab.value("document.documentElement.scrollWidth <= innerWidth")
        tab.value("redraw(), scrollTo(0, document.body.scrollHeight)")
        picture(tab, "talk-phone.png", tmp_path)
        nothing_forbidden(tab, url)


def test_files_and_short_presses_are_questions_too(tmp_path, answerer, answer_vocoder):
    model = ServedModel("tiny", answerer, answer_vocoder, Limits(60, 60, 4))
    with serving(model) as server, opened(tmp_path, url := f"http://127.0.0.1:{server.port}/") as tab:
        tab.until(f"{text_of('#model')} === 'tiny'")
        tab.choose(SHORT)
        answered(tab, 1)
        assert tab.value(text_of(".transcript")).strip()
        assert tab.until("document.querySelector('[aria-label=answer]').duration") > 0.2
        assert tab.value("Math.max(...current.answer.sound.samples)") > 0.01
        assert tab.value("current.answer.pieces.length") >= 2
        # One press starts and the next one sends; earlier turns go along.
        press = "document.getElementById('record').click()"
        tab.value(press)
        tab.until(f"{text_of('#label')} === 'Press to send'")
        time.sleep(1)
        tab.value(press)
        answered(tab, 2)
        assert tab.value("messages.map(message => message.role).join()") == "user,assistant,user,assistant"
        bodies = [
            json.loads(event["request"]["postData"])
            for event in tab.parameters("Network.requestWillBeSent")
            if "postData" in event["request"]
        ]
        assert bodies[-1]["messages"][1]["audio"]["id"].startswith("audio_")
        sent = base64.b64decode(bodies[-1]["messages"][-1]["content"][0]["input_audio"]["data"])
        recorded, rate = soundfile.read(io.BytesIO(sent))
        assert rate == SAMPLE_RATE
        assert 0.5 < len(recorded) / rate < 5
        # A file that isn't audio is reported, and the page stays usable.
        tab.choose(__file__)
        assert "not audio" in tab.until(text_of("#error"))
        tab.choose(QUESTION)
        answered(tab, 3)
        nothing_forbidden(tab, url)


def test_waiting_and_errors_are_said_in_words(tmp_path, answerer, answer_vocoder):
    model = ServedModel("tiny", answerer, answer_vocoder, LIMITS)
    with serving(model, max_queue=1, keys=ApiKeys(("anna-1",))) as server:
        server.headers = {"Authorization": "Bearer anna-1"}
        with opened(tmp_path, url := f"http://127.0.0.1:{server.port}/") as tab:
            assert "needs a key" in tab.until(text_of("#error"))
            tab.type("#secret", "anna-1")
            tab.until(f"{text_of('#model')} === 'tiny'")
            assert tab.value(text_of("#error")) == ""
            endless = SPOKEN | {"max_completion_tokens": 4000}
            with closing_connection(server.open(endless)):
                server.until(busy=True)
                tab.type("#text", "Hello")
                tab.until("/^1 in the queue/.test(document.querySelector('.waiting .note')?.textContent)")
                tab.value("hush()")
                server.until(waiting=0)
                with closing_connection(server.open(endless)):
                    server.until(waiting=1)
                    tab.type("#text", "Hello?")
                    tab.until(
                        "/busy: trying again in/.test(document.querySelector('.waiting .note')?.textContent)"
                    )
                    # It was sent away, so the queue of the others is not one that it stands in.
                    tab.value(NOTES)
                    time.sleep(3)
                    notes = tab.value("notes")
                    tab.value("hush()")
                    assert {note.rpartition(" in ")[0] for note in notes} == {
                        "the server is busy: trying again"
                    }
            server.until(busy=False, waiting=0)
            nothing_forbidden(tab, url)
            server.stop()
            tab.type("#text", "Are you there?")
            assert "can't be reached" in tab.until(text_of("#error"))


def test_the_page_is_self_contained(prepared):
    with urlopen(prepared[1], timeout=TIMEOUT) as answer:
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert (page, policy) == page_and_policy("pipeline.serving")
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!data:,\")", page) == []
    assert "http://" not in page
    assert "https://" not in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
