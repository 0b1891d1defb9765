"""The page of `aqaa-data serve` in a headless browser."""

import base64
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from threading import Thread
from urllib.request import Request, urlopen

import pytest
import soundfile
import websocket
from faster_whisper import WhisperModel

from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.inference.answerer import open_answerer
from pipeline.models import resolve
from pipeline.serving.app import page_and_policy
from pipeline.serving.model import Limits, ServedModel
from pipeline.serving.server import create_server
from tests.pipeline.tiny_models import QUESTION, SHORT

TIMEOUT = 180
"""Seconds; generous, for busy machines."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", "--remote-allow-origins=*"),
    # The microphone is a file played in a loop, and permission to use it is granted without a prompt.
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    f"--use-file-for-fake-audio-capture={SHORT}",
)


class Tab:
    """A page of the browser, controlled through the DevTools protocol."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=TIMEOUT)
        self._number = 0
        self.events: list[dict] = []

    def call(self, method, **params):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression):
        """Wait until an expression is true on the page, and return its value."""
        end = time.monotonic() + TIMEOUT
        while not (value := self.value(expression)):
            assert time.monotonic() < end, (
                expression,
                self.value("document.body.innerText"),
                self.events[-5:],
            )
            time.sleep(0.1)
        return value

    def choose(self, file):
        """Choose a file in the page's file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        field = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=field, files=[str(file)])

    def parameters(self, method):
        return [event["params"] for event in self.events if event.get("method") == method]


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
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    log = (tmp_path / "browser.log").open("wb")
    browser = subprocess.Popen([CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}"], stderr=log)
    try:
        port = tmp_path / "profile" / "DevToolsActivePort"
        end = time.monotonic() + TIMEOUT
        while not (port.exists() and port.read_text().count("\n") >= 1):
            assert browser.poll() is None, (tmp_path / "browser.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        devtools = f"http://127.0.0.1:{port.read_text().split()[0]}/json/new?about:blank"
        with urlopen(Request(devtools, method="PUT"), timeout=TIMEOUT) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            tab.call(f"{domain}.enable")
        yield tab
    finally:
        browser.terminate()
        browser.wait(TIMEOUT)
        log.close()


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
    assert (page, policy) == page_and_policy()
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!data:,\")", page) == []
    assert "http://" not in page
    assert "https://" not in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
