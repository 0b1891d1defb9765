"""A radar plot as inline SVG: a polygon for each model over the same axes."""

from collections.abc import Mapping, Sequence
from math import cos, pi, sin

from markupsafe import Markup, escape

from pipeline.report.charts import COLOURS

RADIUS = 110
_RINGS = 4


def radar(
    axes: Sequence[str], values: Mapping[str, Sequence[float | None]], low: float, high: float
) -> Markup:
    """Each of `values` is a model with a value for each axis, from `low` in the middle to `high` outside;
    None lies in the middle. Fewer than three axes make no plot."""
    if len(axes) < 3:
        return Markup("")
    parts = [
        f'<polygon class="ring" points="{_points([ring / _RINGS] * len(axes))}"/>'
        for ring in range(1, _RINGS + 1)
    ]
    for number, title in enumerate(axes):
        x, y = _at(number, len(axes), 1.12)
        anchor = "middle" if abs(x) < 12 else "start" if x > 0 else "end"
        place = f'style="text-anchor:{anchor}" x="{x:.1f}" y="{y + 4:.1f}"'
        parts.append(f"<text {place}>{escape(title.replace('_', ' '))}</text>")
    for number, (name, own) in enumerate(values.items()):
        shares = [0.0 if value is None else (value - low) / (high - low) for value in own]
        colour = f"var(--s{number % COLOURS})"
        parts.append(
            f'<polygon style="fill:{colour};fill-opacity:.12;stroke:{colour};stroke-width:2" '
            f'points="{_points(shares)}"><title>{escape(name)}</title></polygon>'
        )
    box = f"{-RADIUS - 170} {-RADIUS - 30} {2 * RADIUS + 340} {2 * RADIUS + 60}"
    return Markup(
        f'<svg class="chart radar" viewBox="{box}" role="img" aria-label="scores by dimension">'
        f"{''.join(parts)}</svg>"
    )


def _points(shares: Sequence[float]) -> str:
    return " ".join(
        "{:.1f},{:.1f}".format(*_at(number, len(shares), min(max(share, 0.0), 1.0)))
        for number, share in enumerate(shares)
    )


def _at(number: int, count: int, share: float) -> tuple[float, float]:
    """Where a share of an axis ends; the first axis points up."""
    angle = 2 * pi * number / count - pi / 2
    return RADIUS * share * cos(angle), RADIUS * share * sin(angle)
