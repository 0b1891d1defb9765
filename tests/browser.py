"""A headless browser for tests, controlled through the DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import websocket

TIMEOUT = 180
"""Seconds; generous, for busy machines."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", "--remote-allow-origins=*"),
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

    def pointer(self, kind, selector):
        """Press or release the mouse on an element: `mousePressed` or `mouseReleased`."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.value(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box})")
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def type(self, selector, text):
        """Write into a field, and press Enter."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="Enter",
                code="Enter",
                text="\r",
                windowsVirtualKeyCode=13,
            )

    def show(self, width, height, dark=False):
        """The size of the window in CSS pixels, and the colours that the user prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2,
            mobile=width < 600,
        )
        colours = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[colours])

    def picture(self, file):
        """Write what is seen as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def parameters(self, method):
        return [event["params"] for event in self.events if event.get("method") == method]


@contextmanager
def browser(folder: Path, *options: str) -> Iterator[Callable[[], Tab]]:
    """A browser with a profile in a folder; yields what opens a tab. The test is skipped without Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    log = (folder / "browser.log").open("wb")
    command = [CHROMIUM, *OPTIONS, *options, f"--user-data-dir={folder / 'profile'}"]
    process = subprocess.Popen(command, stderr=log)

    def open_tab() -> Tab:
        devtools = f"http://127.0.0.1:{port.read_text().split()[0]}/json/new?about:blank"
        with urlopen(Request(devtools, method="PUT"), timeout=TIMEOUT) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            tab.call(f"{domain}.enable")
        return tab

    try:
        port = folder / "profile" / "DevToolsActivePort"
        end = time.monotonic() + TIMEOUT
        while not (port.exists() and port.read_text().count("\n") >= 1):
            assert process.poll() is None, (folder / "browser.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield open_tab
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        log.close()
