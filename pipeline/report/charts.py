"""Small charts as inline SVG; colours are classes that the style sheet of the page fills."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from pipeline.report.facts import Histogram
from pipeline.report.thresholds import Curve

WIDTH, HEIGHT = 320, 110
"""Of the area between the axes."""
COLOURS = 6
"""Of the style sheet, `--s0` to `--s5`."""
_LEFT = 46
"""Room for the labels of the vertical axis."""
_TOP = 8
"""Room between the highest value and the upper edge."""
_CHARACTER = 6.6
"""Width of a character of a label, generously."""
_NOTHING = 1e-6
"""Seconds: a chart whose highest value is lower has no scale."""
_GAP = 6.0
"""Least distance between two labels."""


def duration(seconds: float) -> str:
    """Seconds in the most readable unit."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"


def round_duration(seconds: float) -> str:
    """Seconds as the label of an axis: the same unit, without needless decimals."""
    for unit, name, least in ((3600.0, "h", 7200.0), (60.0, "min", 120.0)):
        if seconds >= least:
            return f"{seconds / unit:.4g} {name}"
    return f"{seconds:.4g} s"


def count(value: float) -> str:
    """A number that fits on a column."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * unit:
            return f"{value / unit:.0f}{name}"
    return f"{value:,.0f}"


def histogram(drawn: Histogram, limits: Sequence[float] = ()) -> Markup:
    """Audio by value: kept at the bottom, set aside stacked on it, the limits as dashed lines."""
    measure = drawn.measure
    kept, both = drawn.kept, drawn.kept + drawn.aside
    top = max(float(both.max()), 1e-9)
    step = WIDTH / measure.bins
    bars = []
    for n in range(measure.bins):
        low, high = HEIGHT - _up(kept[n], top), HEIGHT - _up(both[n], top)
        x = n * step + 0.5
        if kept[n]:
            bars.append(_rect("kept", x, low, step - 1, HEIGHT - low))
        if both[n] > kept[n]:
            bars.append(_rect("aside", x, high, step - 1, low - high))
    lines = [_line(_across(limit, measure.low, measure.high)) for limit in limits]
    axes = [*_vertical_axis(top), *_axis(measure.low, measure.high)]
    return _chart(f"{measure.title}: audio by value", [*axes, *bars, *lines], left=_LEFT)


def curve(drawn: Curve) -> Markup:
    """Audio kept by the value of a limit, with the limit in force."""
    low, high = float(drawn.values[0]), float(drawn.values[-1])
    seconds = drawn.hours * 3600
    top = max(float(seconds.max()), 1e-9)
    width = (high - low) or 1.0
    points = [
        f"{(value - low) / width * WIDTH:.2f},{HEIGHT - _up(kept, top):.2f}"
        for value, kept in zip(drawn.values, seconds, strict=True)
    ]
    parts = [
        f'<polygon class="area" points="0,{HEIGHT} {" ".join(points)} {WIDTH},{HEIGHT}"/>',
        f'<polyline class="curve" points="{" ".join(points)}"/>',
    ]

    def kept_at(value: float) -> float:
        return float(np.interp(value, drawn.values, seconds))

    if drawn.limit is not None:
        x, y = _across(drawn.limit, low, high), HEIGHT - _up(kept_at(drawn.limit), top)
        parts += [_line(x), f'<circle class="dot" cx="{x:.2f}" cy="{y:.2f}" r="4"/>']
    axes = [*_vertical_axis(top), *_axis(low, high, lambda value: duration(kept_at(value)))]
    return _chart(f"{drawn.field}: audio kept by limit", [*axes, *parts], left=_LEFT, foot=34)


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
            f'<text class="value" x="{x:.2f}" y="{HEIGHT - high - 4:.2f}">{count(value)}</text>',
            f'<text x="{x:.2f}" y="{HEIGHT + 14}">{escape(name)}</text>',
        ]
    return _chart(label, parts)


def progress(series: Mapping[str, Sequence[tuple[float, float]]], label: str) -> Markup:
    """Values over steps, a line for each name in its own colour; at the foot of the vertical axis is 0 or the
    lowest value."""
    points = [point for line in series.values() for point in line]
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    low, top = min(0.0, *(value for _, value in points)), max(value for _, value in points)
    wide = (top - low) or 1.0
    parts = []
    for tick in ticks(low, top, 4):
        y = HEIGHT - _up(tick - low, wide)
        parts += [
            f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.2f}" y2="{y:.2f}"/>',
            f'<text class="scale" x="-6" y="{y + 4:.2f}">{tick:.4g}</text>',
        ]
    for number, (name, line) in enumerate(series.items()):
        at = [(_across(step, first, last), HEIGHT - _up(value - low, wide)) for step, value in line]
        drawn = " ".join(f"{x:.2f},{y:.2f}" for x, y in at)
        colour = f"var(--s{number % COLOURS})"
        style = f"fill:none;stroke:{colour};stroke-width:2"
        parts.append(f'<polyline style="{style}" points="{drawn}"><title>{escape(name)}</title></polyline>')
        if len(at) <= WIDTH / 8:
            parts += [f'<circle style="fill:{colour}" cx="{x:.2f}" cy="{y:.2f}" r="3"/>' for x, y in at]
    return _chart(label, [*parts, *_axis(first, last)], left=_LEFT)


@dataclass(frozen=True)
class Lane:
    """Values of one kind, with their mean and its confidence interval."""

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
    """Who speaks when between two times, one lane per speaker."""
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
    tooltip = f"<title>{escape(title)}</title>" if title else ""
    size = f'width="{width:.2f}" height="{height:.2f}"'
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" {size}>{tooltip}</rect>'


def _across(value: float, low: float, high: float) -> float:
    return (value - low) / ((high - low) or 1.0) * WIDTH


def _up(value: float, top: float) -> float:
    return value / top * (HEIGHT - _TOP)


def _line(x: float) -> str:
    return f'<line class="limit" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{HEIGHT}"/>' if 0 <= x <= WIDTH else ""


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers between two ends."""
    for exponent in range(-6, 9):
        for step in (1, 2, 2.5, 5):
            wide = step * 10.0**exponent
            first, last = math.ceil(low / wide - 1e-9), math.floor(high / wide + 1e-9)
            if last - first < most:
                return [n * wide for n in range(first, last + 1)]
    return [low, high]


def duration_ticks(top: float) -> list[float]:
    """One or two round durations up to `top` seconds, for a vertical axis."""
    if top < _NOTHING:
        return []
    unit = next((unit for unit, least in ((3600.0, 7200.0), (60.0, 120.0)) if top >= least), 1.0)
    return [tick * unit for tick in ticks(0, top / unit, 3) if tick > 0] or [top]


@dataclass(frozen=True)
class _Label:
    """A label under the axis, clipped to the width of the chart."""

    text: str
    left: float

    @classmethod
    def at(cls, x: float, text: str) -> "_Label":
        width = len(text) * _CHARACTER
        return cls(text, min(max(x - width / 2, -4.0), WIDTH + 4.0 - width))

    @property
    def right(self) -> float:
        return self.left + len(self.text) * _CHARACTER

    def svg(self, kind: str, y: float) -> str:
        middle = (self.left + self.right) / 2
        return f'<text class="{kind}" x="{middle:.2f}" y="{y}">{escape(self.text)}</text>'


def _vertical_axis(top: float) -> list[str]:
    """Grid lines at round durations, with their labels; `top` is the highest value in seconds."""
    marks = []
    for value in duration_ticks(top):
        y = HEIGHT - _up(value, top)
        marks += [
            f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.2f}" y2="{y:.2f}"/>',
            f'<text class="scale" x="-6" y="{y + 4:.2f}">{escape(round_duration(value))}</text>',
        ]
    return marks


def _axis(low: float, high: float, below: Callable[[float], str] | None = None) -> list[str]:
    """The horizontal axis with as many labels as fit, and the text of `below` under each."""
    rows: list[list[_Label]] = []
    values: list[float] = []
    for most in range(6, 2, -1):
        values = ticks(low, high, most)
        rows = [[_Label.at(_across(value, low, high), f"{value:.6g}") for value in values]]
        if below:
            rows.append([_Label.at(_across(value, low, high), below(value)) for value in values])
        if all(map(_fit, rows)):
            break
    marks = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>']
    marks += [
        f'<line class="axis" x1="{x:.2f}" x2="{x:.2f}" y1="{HEIGHT}" y2="{HEIGHT + 4}"/>'
        for x in (_across(value, low, high) for value in values)
    ]
    for kind, y, row in zip(("", "value"), (HEIGHT + 15, HEIGHT + 31), rows, strict=False):
        marks += [label.svg(kind, y) for label in row]
    return marks


def _fit(labels: Sequence[_Label]) -> bool:
    return all(a.right + _GAP <= b.left for a, b in pairwise(labels))


def _chart(label: str, parts: Iterable[str], left: int = 0, foot: int = 18) -> Markup:
    box = f"{-left} -4 {WIDTH + left} {HEIGHT + foot + 4}"
    return Markup(
        f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
