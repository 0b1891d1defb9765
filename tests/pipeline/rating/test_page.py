"""The page of raters in a headless browser: a session by keyboard and by mouse."""

import json
import re
from urllib.request import urlopen

import pytest

from pipeline.serving.page import page_and_policy
from tests.browser import browser
from tests.pipeline.rating.rows import OVERVIEW, answer, rating_page, row, token_of, write_rows, write_tone

PROMPTS = 3


@pytest.fixture
def rows(tmp_path):
    tones = {id: write_tone(tmp_path / f"{id}.wav", hertz) for id, hertz in (("one", 300), ("two", 500))}
    question = write_tone(tmp_path / "question.wav", 200)
    answers = [answer(id, audio=tone) for id, tone in tones.items()]
    return write_rows(tmp_path / "c.jsonl", [row(f"p{n}", *answers, audio=question) for n in range(PROMPTS)])


@pytest.fixture
def open_tab(tmp_path):
    with browser(tmp_path) as opened:
        yield opened


KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "ArrowLeft": ("", 37), "ArrowRight": ("", 39)}


def press(tab, key):
    text, code = KEYS.get(key, (key, ord(key[0].upper())))
    fields = {"key": key, "windowsVirtualKeyCode": code}
    tab.call("Input.dispatchKeyEvent", type="keyDown", **fields, **({"text": text} if text else {}))
    tab.call("Input.dispatchKeyEvent", type="keyUp", **fields)


def click(tab, selector):
    """A click with the mouse, or a finger, in the middle of an element."""
    tab.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
    box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
    x, y = (tab.value(f"{box}.{side} + {box}.{size} / 2") for side, size in (("x", "width"), ("y", "height")))
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def go(tab, page, token):
    tab.call("Page.navigate", url=f"{page.url}#{token}")


def at(tab, position):
    return tab.until(f"document.getElementById('position')?.textContent.startsWith('{position}')")


def written(tmp_path):
    return [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]


def faults(tab):
    """What went wrong on the page, and what it asked other hosts for."""
    entries = [event["entry"]["text"] for event in tab.parameters("Log.entryAdded")]
    urls = [event["request"]["url"] for event in tab.parameters("Network.requestWillBeSent")]
    foreign = [url for url in urls if not re.match("http://127.0.0.1:|blob:|data:", url)]
    return [*tab.parameters("Runtime.exceptionThrown"), *entries, *foreign]


def test_a_session_with_the_keyboard(open_tab, rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna") as page:
        tab = open_tab()
        go(tab, page, token_of("anna"))
        at(tab, "1 of 6 (0 rated)")
        tab.until("document.querySelectorAll('audio[src]').length === 2")
        press(tab, "a")
        tab.until("document.querySelector('audio[data-part=\"0\"]').currentTime > 0")
        press(tab, "q")  # one plays at a time
        tab.until("document.querySelector('audio[data-part=question]').currentTime > 0")
        assert tab.value("document.querySelector('audio[data-part=\"0\"]').paused")
        press(tab, "Enter")  # nothing is marked, so nothing is saved
        press(tab, "4")
        press(tab, "r")
        for key in "5 ok":
            press(tab, key)
        press(tab, "Escape")
        press(tab, "Enter")
        at(tab, "2 of 6 (1 rated)")
        assert [(row["score"], row["reason"]) for row in written(tmp_path)] == [(4, "5 ok")]
        # Back to it: the mark is there and can be changed.
        press(tab, "ArrowLeft")
        at(tab, "1 of 6")
        assert tab.until("document.querySelector('#marks input:checked')?.value") == "4"
        assert tab.value("document.getElementById('reason').value") == "5 ok"
        press(tab, "2")
        press(tab, "Enter")
        at(tab, "2 of 6 (1 rated)")
        # What is marked but not saved is kept while looking at others.
        press(tab, "5")
        press(tab, "ArrowRight")
        at(tab, "3 of 6")
        press(tab, "ArrowLeft")
        at(tab, "2 of 6")
        assert tab.until("document.querySelector('#marks input:checked')?.value") == "5"
        for rated in range(2, 7):
            press(tab, "3")
            press(tab, "Enter")
            tab.until(f"document.body.innerText.includes('({rated} rated)') || !finished.hidden")
        assert tab.until("!finished.hidden && thanks.textContent") == "All 6 are rated. Thank you, anna!"
        assert faults(tab) == []
    assert [row["score"] for row in written(tmp_path)] == [4, 2, 3, 3, 3, 3, 3]
    assert len({(row["prompt"], row["answer"]) for row in written(tmp_path)}) == 6


def test_a_session_with_the_mouse_on_a_dark_phone_goes_on_where_it_was(open_tab, rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna", "ben", choose=True) as page:
        tab = open_tab()
        phone = {"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": True}
        tab.call("Emulation.setDeviceMetricsOverride", **phone)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        tab.call("Emulation.setEmulatedMedia", features=dark)
        tab.call("Page.navigate", url=page.url)
        tab.until("document.getElementById('enter')?.hidden === false")
        click(tab, "#code")
        tab.call("Input.insertText", text=token_of("anna"))
        click(tab, "#enter button")
        at(tab, "1 of 3 (0 rated)")
        assert tab.value("document.documentElement.scrollWidth") <= 360
        assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 27)"
        heights = "[...document.querySelectorAll('button, #marks label')].map(e => e.offsetHeight)"
        assert min(height for height in tab.value(heights) if height) >= 44
        texts = tab.value("[...document.querySelectorAll('#answers p')].map(p => p.textContent)")
        click(tab, "#marks label:nth-child(3)")
        click(tab, "#save")
        at(tab, "2 of 3 (1 rated)")
        click(tab, "#marks label:nth-child(2)")
        click(tab, "#reason")
        tab.call("Input.insertText", text="both hiss")
        click(tab, "#save")
        at(tab, "3 of 3 (2 rated)")
        first, second = written(tmp_path)
        assert texts[1] == f"Text of {first['choice']}."
        assert (second["choice"], second["reason"]) == (None, "both hiss")
        tab.call("Page.reload")
        at(tab, "3 of 3 (2 rated)")
        assert faults(tab) == []


def test_two_tabs_of_a_rater_and_the_overview(open_tab, rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna", "ben") as page:
        one, two, watching = open_tab(), open_tab(), open_tab()
        go(watching, page, OVERVIEW)
        watching.until("document.getElementById('basis')?.textContent.startsWith('Nothing can be said')")
        for tab in (one, two):
            go(tab, page, token_of("anna"))
            at(tab, "1 of 6")
        press(one, "5")
        press(one, "Enter")
        at(one, "2 of 6 (1 rated)")
        press(two, "1")  # the same task in the other tab: the last rating counts
        press(two, "Enter")
        at(two, "2 of 6 (1 rated)")
        press(two, "2")
        press(two, "Enter")
        at(two, "3 of 6 (2 rated)")
        press(one, "3")
        press(one, "Enter")  # goes on after what the other tab has done
        at(one, "3 of 6 (2 rated)")
        assert [row["score"] for row in written(tmp_path)] == [5, 1, 2, 3]
        for id in page.get("/api/state", "ben")["tasks"]:
            page.put(
                id,
                "ben",
                score=int(page.get(f"/api/tasks/{id}", "ben")["answers"][0]["text"] == "Text of one.") + 1,
            )
        assert watching.until("raters.innerText.includes('6 of 6') && raters.innerText").startswith(
            "anna\t2 of 6"
        )
        assert re.fullmatch(r"-?[01]\.\d\d", watching.value("agreement.textContent"))
        assert faults(one) + faults(two) + faults(watching) == []


def test_a_stopped_server_and_a_wrong_link_are_told(open_tab, rows, tmp_path):
    tab = open_tab()
    with rating_page(rows, tmp_path / "r.jsonl", "anna") as page:
        go(tab, page, "wrong")
        assert "not valid" in tab.until("document.getElementById('error')?.textContent")
        tab.until("!document.getElementById('enter').hidden")
        go(tab, page, token_of("anna"))
        at(tab, "1 of 6")
    press(tab, "3")
    press(tab, "Enter")
    assert "can't be reached" in tab.until("document.getElementById('error')?.textContent")
    assert tab.value("document.querySelector('#marks input:checked').value") == "3"
    assert not tab.value("document.getElementById('save').disabled")


def test_the_page_is_self_contained(rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna") as page, urlopen(page.url) as response:
        text, policy = response.read().decode(), response.headers["Content-Security-Policy"]
    assert (text, policy) == page_and_policy("pipeline.rating")
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!data:,\")", text) == []
    assert not re.search("https?://", text)
    assert "unsafe" not in policy
