"""The page in a headless browser: turns are filtered, heard, compared, marked, and named by links."""

import json
import os
import re
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from pipeline.serving.page import page_and_policy
from pipeline.versions.reader import Reference, open_version
from tests.browser import browser
from tests.pipeline.browsing.pages import STEVE, browse_page, small_version

PICTURES = os.environ.get("BROWSE_PICTURES")
"""Folder for the pictures that are taken, such as docs/images; by default none are."""


@pytest.fixture
def open_tab(tmp_path):
    with browser(tmp_path) as opened:
        yield opened


@pytest.fixture
def version(tmp_path):
    return small_version(tmp_path)


def go(tab, page, **fields):
    tab.call("Page.navigate", url=f"{page.url}#{'&'.join(f'{k}={quote(v)}' for k, v in fields.items())}")
    # The first turns are there before the filters.
    tab.until(
        "document.querySelector('#rows tr') && document.querySelector('.histogram .part')?.getAttribute('d')"
    )


def keys(tab):
    """The last digits of the keys of the turns in the table."""
    return tab.value("[...document.querySelectorAll('#rows tr')].map(row => row.dataset.key.at(-1)).join('')")


def press(tab, key):
    fields = {"key": key, "windowsVirtualKeyCode": ord(key.upper()), "text": key}
    tab.call("Input.dispatchKeyEvent", type="keyDown", **fields)
    tab.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def shows(tab, turns):
    return tab.until(f"document.getElementById('count')?.textContent.startsWith('{turns}')")


def faults(tab):
    """What went wrong on the page, and what it asked other hosts for."""
    entries = [event["entry"]["text"] for event in tab.parameters("Log.entryAdded")]
    urls = [event["request"]["url"] for event in tab.parameters("Network.requestWillBeSent")]
    foreign = [url for url in urls if not re.match("http://127.0.0.1:|blob:|data:", url)]
    return [*tab.parameters("Runtime.exceptionThrown"), *entries, *foreign]


def test_filters_and_their_histograms_follow_each_other(open_tab, version):
    with browse_page(version) as page:
        tab = open_tab()
        tab.show(1280, 900)
        go(tab, page)
        shows(tab, "8 turns")
        tab.value("document.querySelector('[data-value=\"select/too_short\"]').click()")
        shows(tab, "3 of 8 turns")
        assert keys(tab) == "015"
        part = "document.querySelector('[data-column=seconds] .part').getAttribute('d')"
        whole = part.replace(".part", ".whole")
        tab.until(f"{part}.split('M').length === 2")  # all three are in one bin
        assert tab.value(f"{whole}.split('M').length") > 4
        # A range by hand, and with the mouse.
        tab.value("document.querySelector('[data-value=\"select/too_short\"]').click()")
        shows(tab, "8 turns")
        tab.value("document.querySelector('[data-column=seconds]').scrollIntoView({block: 'center'})")
        seconds = "document.querySelector('[data-column=seconds]').getBoundingClientRect()"
        box = tab.value(f"(b => [b.x, b.y, b.width, b.height])({seconds})")
        x, y, width, height = box
        for kind, at in (("mousePressed", 0.1), ("mouseMoved", 0.5), ("mouseReleased", 0.99)):
            tab.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x + at * width,
                y=y + height / 2,
                button="left",
                buttons=1,
                clickCount=1,
            )
        shows(tab, "2 of 8 turns")  # of 3 s and more
        tab.value("document.querySelector('#chips button').click()")
        shows(tab, "8 turns")
        tab.type("#text", "REAL-TIME")
        shows(tab, "2 of 8 turns")
        # The address holds all of it.
        again = open_tab()
        again.call("Page.navigate", url=tab.value("location.href"))
        shows(again, "2 of 8 turns")
        assert faults(tab) + faults(again) == []


def test_a_turn_is_heard_with_its_picture_and_its_words_light_up(open_tab, version):
    with browse_page(version) as page:
        tab = open_tab()
        go(tab, page, turn=f"{STEVE}3")
        tab.until("audio.readyState > 2")
        drawn = "(c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)"
        assert tab.value(f"{drawn}(wave)") > 3
        assert tab.value(f"{drawn}(spectrogram)") > 100
        assert tab.value("lanes.innerText") == "SPEAKER_00\nSPEAKER_01"
        assert tab.value("document.querySelectorAll('#track button.current').length") == 1
        press(tab, " ")
        first = tab.until("document.querySelector('#words .lit')?.textContent")
        tab.until(
            f"(lit => lit && lit !== {json.dumps(first)})(document.querySelector('#words .lit')?.textContent)"
        )
        press(tab, " ")
        assert tab.value("audio.paused")
        press(tab, "j")
        tab.until(f"location.hash.includes('{STEVE}4')")
        press(tab, "k")
        tab.until(f"location.hash.includes('{STEVE}3')")
        tab.value("document.querySelector('#more').open = true")
        assert "prompt" in tab.until("document.querySelector('#samples .sample')?.innerText")
        assert tab.value("document.querySelectorAll('#samples .tag.target').length") > 0
        assert faults(tab) == []


def test_a_threshold_is_moved_and_what_comes_can_be_heard(open_tab, version):
    with browse_page(version) as page:
        tab = open_tab()
        go(tab, page)
        tab.value("threshold.open = true")
        tab.value("limit.value = 'seconds_min'; limit.onchange()")
        tab.until("now.textContent.endsWith('a limit of 1.') && slide.max > 5")
        tab.value("slide.value = 0.82; slide.oninput()")
        tab.until("document.querySelector('[data-side=comes]').textContent.startsWith('2 turns come')")
        tab.value("document.querySelector('[data-side=comes]').click()")
        shows(tab, "2 of 8 turns")
        assert keys(tab) == "01"
        tab.value("document.querySelector('#rows tr').click()")
        tab.until("!audio.paused && audio.currentTime > 0")
        assert faults(tab) == []


def test_marks_by_key_and_by_button_on_a_dark_phone(open_tab, version, tmp_path):
    file = tmp_path / "marks.jsonl"
    with browse_page(version, marks=file) as page:
        tab = open_tab()
        tab.show(360, 700, dark=True)
        go(tab, page)
        assert tab.value("document.documentElement.scrollWidth") <= 360
        assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 27)"
        tab.value("document.querySelectorAll('#rows tr')[1].click()")
        tab.until("!player.hidden")
        tab.pointer("mousePressed", "[data-mark=wrong_speaker]")
        tab.pointer("mouseReleased", "[data-mark=wrong_speaker]")
        tab.until("document.querySelector('[data-mark=wrong_speaker]').ariaPressed === 'true'")
        press(tab, "j")
        tab.until(f"location.hash.includes('{STEVE}1') && who.textContent === 'SPEAKER_01'")
        press(tab, "b")
        tab.until("document.querySelector('[data-mark=bad]').ariaPressed === 'true'")
        press(tab, "u")
        tab.until("document.querySelector('[data-mark=bad]').ariaPressed === 'false'")
        assert tab.value("document.documentElement.scrollWidth") <= 360
        assert tab.value("marked.textContent") == "1 marked"
        assert faults(tab) == []
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["key"][-1], row["mark"]) for row in written] == [
        ("0", "wrong_speaker"),
        ("1", "bad"),
        ("1", None),
    ]


def test_a_text_and_a_speaker_are_corrected(open_tab, version, tmp_path):
    file = tmp_path / "marks.jsonl"
    with browse_page(version, marks=file) as page:
        tab = open_tab()
        tab.show(1280, 900)
        go(tab, page, turn=f"{STEVE}3")
        tab.until("!player.hidden")
        press(tab, "e")
        tab.until("document.activeElement.id === 'said'")
        # Letters go into the text, and mark nothing.
        tab.value("said.value = ''")
        for key in "big":
            press(tab, key)
        tab.value("speaker.value = 'Katie'")
        tab.value("document.querySelector('#corrected button').click()")
        tab.until("document.getElementById('words').textContent === 'big' && who.textContent === 'Katie'")
        row = f"document.querySelector('#rows tr[data-key$=\"{STEVE}3\"]')"
        assert tab.value(f"{row}.lastChild.textContent") == "corrected"
        assert tab.value(f"{row}.querySelector('div').textContent") == "big"
        assert tab.value("marked.textContent") == "1 marked"
        tab.value("uncorrected.click()")
        tab.until("who.textContent !== 'Katie' && marked.textContent === '0 marked'")
        assert faults(tab) == []
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert written[0]["corrected"] == {"text": "big", "speaker": "Katie"}
    assert "corrected" not in written[1]


def test_two_versions_are_compared(open_tab, version, tmp_path):
    (tmp_path / "other").mkdir()
    with browse_page(version, small_version(tmp_path / "other")) as page:
        tab = open_tab()
        go(tab, page)
        tab.value("compared.value = '1 only_here'; compared.onchange()")
        tab.until("document.getElementById('count').textContent.startsWith('0 of 8')")
        assert faults(tab) == []


def test_a_version_is_open_to_others_only_with_its_token(open_tab, version):
    with browse_page(version, token="secret-0123456789") as page:
        tab = open_tab()
        tab.call("Page.navigate", url=page.url)
        assert "not valid" in tab.until("document.getElementById('error')?.textContent")
        go(tab, page, token="secret-0123456789", turn=f"{STEVE}3")
        tab.until("audio.readyState > 2")
        assert "secret" not in tab.value("location.href")


def test_the_page_is_self_contained(version):
    with browse_page(version) as page, urlopen(page.url) as response:
        text, policy = response.read().decode(), response.headers["Content-Security-Policy"]
    assert (text, policy) == page_and_policy("pipeline.browsing")
    assert re.findall(r"(?:src|href)\s*=\s*\"(?!data:,\")", text) == []
    assert not re.search("https?://(?!www.w3.org/2000/svg)", text)
    assert "unsafe" not in policy


@pytest.mark.skipif(PICTURES is None, reason="BROWSE_PICTURES names the folder of pictures")
def test_pictures(open_tab, small_build, tmp_path):
    version = open_version(Reference.parse(str(small_build.dataset)))
    with browse_page(version, marks=tmp_path / "marks.jsonl") as page:
        tab = open_tab()
        tab.show(1280, 860)
        go(tab, page, filter='{"among": {"status": ["used"]}}')
        tab.value("document.querySelectorAll('#rows tr')[2].click()")
        tab.until("audio.currentTime > 2.5")
        tab.value("audio.pause(); scrollTo(0, 0)")
        tab.picture(Path(PICTURES or "") / "browse.png")
        tab.show(1280, 560)
        press(tab, "e")
        tab.until("document.activeElement.id === 'said'")
        tab.picture(Path(PICTURES or "") / "correct.png")
