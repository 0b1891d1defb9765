"""The report in a browser: nothing is cut off or overlaps, on a screen and on a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest

from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here")

MEASURE = """<script>
const labels = svg => [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 2 && b.top < a.bottom - 2;
const overlapping = svg => labels(svg).flatMap(([text, a], n, all) => all.slice(n + 1)
  .filter(([_, b]) => meet(a, b))
  .map(([other]) => `${svg.getAttribute("aria-label")}: ${text} / ${other}`));
const charts = [...document.querySelectorAll("svg.chart")];
const cut = [...document.querySelectorAll("section > table, .heard, figure")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)
  .map(e => `${e.tagName} ${e.className} in ${e.parentElement.id}`);
document.title = JSON.stringify({
  charts: charts.length, overlaps: charts.flatMap(overlapping), cut,
  page: document.documentElement.scrollWidth - innerWidth,
  phone: matchMedia("(max-width: 620px)").matches,
});
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page with every reason and measure, of turns that differ in all of them."""
    folder = tmp_path_factory.mktemp("report")

    def one(n):
        return {
            "text": f"the train to the city leaves at nine from platform {n} " * (1 + n % 4),
            "dnsmos_overall": 1.0 + n % 9 / 3,
            "words_per_second": 0.3 + n % 10,
            "loudness_lufs": -70.0 + 5 * (n % 12),
        }

    turns = {name: two_who_talk(name, 40, one) for name in ("a-rather-long-name.wav", "b.wav")}
    plan = planned(folder, turns, compose={"families": ["asr", "tts", "aqtaa"]})
    manifest = packed(plan, with_pages=True)
    return plan.dataset.directory / "versions" / manifest.version / "report.html"


@pytest.mark.parametrize("width", [500, 800, 1280])
def test_no_labels_overlap_and_nothing_is_cut_off(report, tmp_path, width):
    page = tmp_path / "page.html"
    page.write_text(report.read_text().replace("</body>", f"{MEASURE}</body>"))
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom")
    done = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-2000:]
    measured = json.loads(html.unescape(title[1]))
    assert measured["charts"] > 10
    assert measured["phone"] == (width <= 620)
    assert measured["overlaps"] == []
    assert measured["cut"] == []
    assert measured["page"] <= 0
