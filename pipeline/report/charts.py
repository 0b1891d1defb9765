"""Small drawings as inline SVG; colours are classes, the page's style sheet fills them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from pipeline.report.facts import Histogram
from pipeline.report.thresholds import Curve

WIDTH, HEIGHT = 320, 110


def duration(seconds: float) -> str:
    """Seconds in the unit that says most."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"


def histogram(drawn: Histogram, limits: Sequence[float] = ()) -> Markup:
    """Hours by value: kept below, set aside on top of it, the limits as dashed lines."""
    measure = drawn.measure
    kept, both = drawn.kept, drawn.kept + drawn.aside
    top = max(both.max(), 1e-9)
    step = WIDTH / measure.bins
    bars = []
    for n in range(measure.bins):
        low, high = kept[n] / top * HEIGHT, both[n] / top * HEIGHT
        x = n * step + 0.5
        if low:
            bars.append(_rect("kept", x, HEIGHT - low, step - 1, low))
        if high > low:
            bars.append(_rect("aside", x, HEIGHT - high, step - 1, high - low))
    lines = [_line(_across(limit, measure.low, measure.high)) for limit in limits]
    return _chart(f"{measure.title}: hours by value", [*bars, *lines, *_axis(measure.low, measure.high)])


def curve(drawn: Curve) -> Markup:
    """Audio kept by the value of a limit, with the limit in force."""
    low, high = float(drawn.values[0]), float(drawn.values[-1])
    top = max(float(drawn.hours.max()), 1e-9)
    width = (high - low) or 1.0
    points = [
        f"{(value - low) / width * WIDTH:.2f},{HEIGHT - hours / top * (HEIGHT - 8):.2f}"
        for value, hours in zip(drawn.values, drawn.hours, strict=True)
    ]
    parts = [
        f'<polygon class="area" points="0,{HEIGHT} {" ".join(points)} {WIDTH},{HEIGHT}"/>',
        f'<polyline class="curve" points="{" ".join(points)}"/>',
    ]
    if drawn.limit is not None:
        kept = float(np.interp(drawn.limit, drawn.values, drawn.hours))
        x, y = _across(drawn.limit, low, high), HEIGHT - kept / top * (HEIGHT - 8)
        parts += [_line(x), f'<circle class="dot" cx="{x:.2f}" cy="{y:.2f}" r="4"/>']

    def kept_at(value: float) -> str:
        return duration(float(np.interp(value, drawn.values, drawn.hours)) * 3600)

    return _chart(f"{drawn.field}: audio kept by limit", [*parts, *_axis(low, high, kept_at)], foot=34)


def columns(counts: Sequence[tuple[str, float]], label: str) -> Markup:
    """A column for each name, with its number on top."""
    step = WIDTH / max(1, len(counts))
    top = max([value for _, value in counts] or [1])
    wide = min(48.0, step * 0.7)
    parts = []
    for n, (name, value) in enumerate(counts):
        x, high = (n + 0.5) * step, value / top * (HEIGHT - 16)
        parts += [
            _rect("kept", x - wide / 2, HEIGHT - high, wide, high),
            f'<text class="value" x="{x:.2f}" y="{HEIGHT - high - 4:.2f}">{value:,.0f}</text>',
            f'<text x="{x:.2f}" y="{HEIGHT + 14}">{escape(name)}</text>',
        ]
    return _chart(label, parts)


@dataclass(frozen=True)
class Lane:
    """Values of one kind, with their mean and how far it is sure."""

    name: str
    values: Sequence[float]
    value: float
    low: float
    high: float


def lanes(drawn: Sequence[Lane], low: float, high: float, label: str) -> Markup:
    """A row of dots for each lane, with its mean as a line and its interval as a band."""
    step = HEIGHT / max(1, len(drawn))
    parts = []
    for n, lane in enumerate(drawn):
        y = (n + 0.62) * step
        left, right = (min(max(_across(x, low, high), 0), WIDTH) for x in (lane.low, lane.high))
        parts += [
            f'<text class="name" x="0" y="{n * step + 11:.2f}">{escape(lane.name)}</text>',
            _rect("band", left, y - 9, max(right - left, 1), 18),
        ]
        for value in lane.values:
            at = min(max(_across(value, low, high), 0), WIDTH)
            parts.append(f'<circle class="each" cx="{at:.2f}" cy="{y:.2f}" r="3.5"/>')
        at = min(max(_across(lane.value, low, high), 0), WIDTH)
        parts.append(f'<line class="mean" x1="{at:.2f}" x2="{at:.2f}" y1="{y - 9:.2f}" y2="{y + 9:.2f}"/>')
    return _chart(label, [*parts, *_axis(low, high)])


@dataclass(frozen=True)
class Stretch:
    """A turn on a strip."""

    start: float
    end: float
    lane: int
    kind: str
    """`sample`, `kept` or `aside`."""
    title: str


def strip(stretches: Iterable[Stretch], lanes: int, start: float, end: float) -> Markup:
    """Who speaks when between two times, a lane a speaker."""
    lane = 20
    wide = 960

    def x(time: float) -> float:
        return (min(max(time, start), end) - start) / (end - start) * wide

    parts = [_rect("lane", 0, n * lane + 2, wide, lane - 4) for n in range(lanes)]
    for s in stretches:
        width = max(x(s.end) - x(s.start), 2)
        kind = f"speaker{s.lane % 6} {s.kind}"
        parts.append(_rect(kind, x(s.start), s.lane * lane + 2, width, lane - 4, s.title))
    return Markup(
        f'<svg class="strip" viewBox="0 0 {wide} {lanes * lane}" preserveAspectRatio="none" role="img" '
        f'aria-label="who speaks when" style="height:{lanes * lane}px">{"".join(parts)}</svg>'
    )


def _rect(kind: str, x: float, y: float, width: float, height: float, title: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    size = f'width="{width:.2f}" height="{height:.2f}"'
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" {size}>{told}</rect>'


def _across(value: float, low: float, high: float) -> float:
    return (value - low) / ((high - low) or 1.0) * WIDTH


def _line(x: float) -> str:
    return f'<line class="limit" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{HEIGHT}"/>' if 0 <= x <= WIDTH else ""


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two ends."""
    for exponent in range(-6, 9):
        for step in (1, 2, 2.5, 5):
            wide = step * 10.0**exponent
            first, last = math.ceil(low / wide - 1e-9), math.floor(high / wide + 1e-9)
            if last - first < most:
                return [n * wide for n in range(first, last + 1)]
    return [low, high]


def _axis(low: float, high: float, below: Callable[[float], str] | None = None) -> list[str]:
    """The axis with its numbers, and under each what `below` says of it."""
    marks = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>']
    for value in ticks(low, high, 4 if below else 6):
        x = _across(value, low, high)
        anchor = "start" if x < 12 else "end" if x > WIDTH - 12 else "middle"
        at = f'style="text-anchor:{anchor}" x="{x:.2f}"'
        marks.append(f'<text {at} y="{HEIGHT + 15}">{value:.6g}</text>')
        if below:
            marks.append(f'<text class="value" {at} y="{HEIGHT + 31}">{below(value)}</text>')
    return marks


def _chart(label: str, parts: Iterable[str], foot: int = 18) -> Markup:
    box = f"0 -4 {WIDTH} {HEIGHT + foot + 4}"
    drawn = "".join(parts)
    return Markup(f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(label)}">{drawn}</svg>')
