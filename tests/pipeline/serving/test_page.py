"""The page of `aqaa-data serve` in a headless browser."""

import base64
import io
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from threading import Thread
from urllib.request import urlopen

import pytest
import soundfile
from faster_whisper import WhisperModel

from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.inference.answerer import open_answerer
from pipeline.models import resolve
from pipeline.serving.model import Limits, ServedModel
from pipeline.serving.page import page_and_policy
from pipeline.serving.server import create_server
from tests.browser import TIMEOUT, Tab, browser
from tests.pipeline.tiny_models import QUESTION, SHORT


@pytest.fixture(scope="module")
def url(tiny_checkpoint, vocoder) -> Iterator[str]:
    model = ServedModel(
        "tiny", open_answerer(tiny_checkpoint), open_answer_vocoder(vocoder), Limits(60, 60, 4)
    )
    bound = socket.create_server(("127.0.0.1", 0))
    server = create_server(model, 1)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
    server.handle_exit(signal.SIGTERM, None)
    thread.join(TIMEOUT)


@pytest.fixture
def tab(tmp_path, url) -> Iterator[Tab]:
    # The microphone is a file played in a loop, and permission to use it is granted without a prompt.
    microphone = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    with browser(tmp_path, *microphone, f"--use-file-for-fake-audio-capture={SHORT}") as open_tab:
        yield open_tab()


def test_the_page_answers_questions(tab, url):
    tab.call("Page.navigate", url=url)
    tab.until("document.getElementById('model')?.textContent === 'tiny'")
    tab.choose(SHORT)
    assert tab.until("document.querySelector('article .transcript')?.textContent").strip()
    ended = tab.until("document.querySelector('article [aria-label=answer]') && document.body.innerText")
    first, whole = map(
        float, re.search(r"first sound after ([\d.]+) s, complete after ([\d.]+) s", ended).groups()
    )
    assert 0 < first <= whole
    assert tab.until("document.querySelector('[aria-label=answer]').duration") > 0.2
    assert tab.value("Math.max(...current.player.whole())") > 0.01
    assert tab.value("current.player.pieces.length") >= 2
    assert tab.value("document.getElementById('error').textContent") == ""
    # The next question is sent with the earlier turns.
    tab.choose(QUESTION)
    tab.until("document.querySelectorAll('[aria-label=answer]').length === 2")
    assert tab.value("messages.map(message => message.role).join()") == "user,assistant,user,assistant"
    requests = [event["request"] for event in tab.parameters("Network.requestWillBeSent")]
    bodies = [json.loads(request["postData"]) for request in requests if "postData" in request]
    assert bodies[-1]["messages"][1]["audio"]["id"].startswith("audio_")
    # A file that isn't audio is reported, and the page stays usable.
    tab.choose(__file__)
    assert "not audio" in tab.until("document.getElementById('error').textContent")
    assert not tab.value("document.getElementById('record').disabled")
    # Nothing was loaded from other hosts, and nothing violated the policy.
    assert [r["url"] for r in requests if not r["url"].startswith((url, f"blob:{url}", "data:"))] == []
    assert tab.parameters("Runtime.exceptionThrown") == []
    entries = [event["entry"] for event in tab.parameters("Log.entryAdded")]
    assert [entry["text"] for entry in entries if "400" not in entry["text"]] == []


def test_a_recording_from_the_microphone_is_sent(tab, url):
    """The words of the recording are those of the file that the fake microphone plays."""
    tab.call("Page.navigate", url=url)
    tab.until("document.getElementById('model')?.textContent === 'tiny'")
    press = "document.getElementById('record').click()"
    tab.value(press)
    tab.until("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    time.sleep(2 * soundfile.info(SHORT).duration)
    tab.value(press)
    tab.until("document.querySelector('[aria-label=answer]') && document.body.innerText")
    assert tab.value("document.getElementById('error').textContent") == ""
    assert tab.value("document.getElementById('record').textContent") == "Record"
    (body,) = (
        json.loads(event["request"]["postData"])
        for event in tab.parameters("Network.requestWillBeSent")
        if "postData" in event["request"]
    )
    sent = base64.b64decode(body["messages"][0]["content"][0]["input_audio"]["data"])
    recorded, rate = soundfile.read(io.BytesIO(sent), dtype="float32")
    assert rate == 16000
    transcriber = WhisperModel(str(resolve("package:whisper-tiny-en").path), device="cpu", cpu_threads=1)
    transcripts = [
        " ".join(segment.text for segment in transcriber.transcribe(audio, language="en")[0]).lower()
        for audio in (str(SHORT), recorded)
    ]
    words = set(re.findall(r"[a-z]+", transcripts[0]))
    assert words
    assert len(words & set(re.findall(r"[a-z]+", transcripts[1]))) >= 0.7 * len(words), transcripts


def test_the_page_is_self_contained(url):
    with urlopen(url, timeout=TIMEOUT) as answer:
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert (page, policy) == page_and_policy("pipeline.serving")
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!data:,\")", page) == []
    assert "http://" not in page
    assert "https://" not in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
