"""The page of `aqaa-data serve`, opened in a browser that nobody sees."""

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

PATIENCE = 180
"""Seconds that a busy machine is given."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", "--remote-allow-origins=*"),
    # Its microphone is a file that begins anew when it ends, and nobody is asked whether it may listen.
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    f"--use-file-for-fake-audio-capture={SHORT}",
)


class Tab:
    """A page of the browser, by the DevTools protocol."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=PATIENCE)
        self._number = 0
        self.events: list[dict] = []

    def call(self, method, **params):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def value(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression):
        """Wait for something to be true of the page, and give it."""
        end = time.monotonic() + PATIENCE
        while not (found := self.value(expression)):
            assert time.monotonic() < end, (
                expression,
                self.value("document.body.innerText"),
                self.events[-5:],
            )
            time.sleep(0.1)
        return found

    def send(self, file):
        """Pick a file, as a person does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        field = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=field, files=[str(file)])

    def told(self, method):
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
    thread.join(PATIENCE)


@pytest.fixture
def tab(tmp_path, url) -> Iterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    said = (tmp_path / "browser.log").open("wb")
    browser = subprocess.Popen([CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}"], stderr=said)
    try:
        port = tmp_path / "profile" / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not (port.exists() and port.read_text().count("\n") >= 1):
            assert browser.poll() is None, (tmp_path / "browser.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        devtools = f"http://127.0.0.1:{port.read_text().split()[0]}/json/new?about:blank"
        with urlopen(Request(devtools, method="PUT"), timeout=PATIENCE) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            tab.call(f"{domain}.enable")
        yield tab
    finally:
        browser.terminate()
        browser.wait(PATIENCE)
        said.close()


def test_a_question_is_answered_in_the_page(tab, url):
    tab.call("Page.navigate", url=url)
    tab.until("document.getElementById('model')?.textContent === 'tiny'")
    tab.send(SHORT)
    assert tab.until("document.querySelector('article .transcript')?.textContent").strip()
    ended = tab.until("document.querySelector('article [aria-label=answer]') && document.body.innerText")
    first, whole = map(
        float, re.search(r"first sound after ([\d.]+) s, all after ([\d.]+) s", ended).groups()
    )
    assert 0 < first <= whole
    assert tab.until("document.querySelector('[aria-label=answer]').duration") > 0.2
    assert tab.value("Math.max(...asking.player.whole())") > 0.01
    assert tab.value("asking.player.pieces.length") >= 2
    assert tab.value("document.getElementById('trouble').textContent") == ""
    # The next question comes with what was said before.
    tab.send(QUESTION)
    tab.until("document.querySelectorAll('[aria-label=answer]').length === 2")
    assert tab.value("messages.map(message => message.role).join()") == "user,assistant,user,assistant"
    requests = [event["request"] for event in tab.told("Network.requestWillBeSent")]
    asked = [json.loads(request["postData"]) for request in requests if "postData" in request]
    assert asked[-1]["messages"][1]["audio"]["id"].startswith("audio_")
    # What can't be heard is said, and the page stays usable.
    tab.send(__file__)
    assert "not audio" in tab.until("document.getElementById('trouble').textContent")
    assert not tab.value("document.getElementById('record').disabled")
    # Nothing came from elsewhere, and nothing was tried that the policy forbids.
    assert [r["url"] for r in requests if not r["url"].startswith((url, f"blob:{url}", "data:"))] == []
    assert tab.told("Runtime.exceptionThrown") == []
    entries = [event["entry"] for event in tab.told("Log.entryAdded")]
    assert [entry["text"] for entry in entries if "400" not in entry["text"]] == []


def test_what_the_microphone_hears_is_asked(tab, url):
    """The words that are sent are those of the file that is played into it."""
    tab.call("Page.navigate", url=url)
    tab.until("document.getElementById('model')?.textContent === 'tiny'")
    press = "document.getElementById('record').click()"
    tab.value(press)
    tab.until("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    time.sleep(2 * soundfile.info(SHORT).duration)
    tab.value(press)
    tab.until("document.querySelector('[aria-label=answer]') && document.body.innerText")
    assert tab.value("document.getElementById('trouble').textContent") == ""
    assert tab.value("document.getElementById('record').textContent") == "Record"
    (asked,) = (
        json.loads(event["request"]["postData"])
        for event in tab.told("Network.requestWillBeSent")
        if "postData" in event["request"]
    )
    sent = base64.b64decode(asked["messages"][0]["content"][0]["input_audio"]["data"])
    heard, rate = soundfile.read(io.BytesIO(sent), dtype="float32")
    assert rate == 16000
    transcriber = WhisperModel(str(resolve("package:whisper-tiny-en").path), device="cpu", cpu_threads=1)
    said = [
        " ".join(segment.text for segment in transcriber.transcribe(sound, language="en")[0]).lower()
        for sound in (str(SHORT), heard)
    ]
    words = set(re.findall(r"[a-z]+", said[0]))
    assert words
    assert len(words & set(re.findall(r"[a-z]+", said[1]))) >= 0.7 * len(words), said


def test_the_page_is_whole_and_may_load_nothing(url):
    with urlopen(url, timeout=PATIENCE) as answer:
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert (page, policy) == page_and_policy()
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!data:,\")", page) == []
    assert "http://" not in page
    assert "https://" not in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
