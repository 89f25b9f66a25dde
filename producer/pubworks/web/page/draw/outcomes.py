"""Results as SVG: counts as bars, expectation values as points with their errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

#: Units.
_WIDTH, _HIGH, _LEFT, _TOP = 920, 220, 56, 12

#: Units: the narrowest histogram, and a bar of few with its outcome and the space around it.
_NARROW, _STEP = 300, 64

#: Most bars that have their number above them.
_NUMBERED = 24


def histogram(counts: Sequence[tuple[str, int]], shots: int) -> Markup:
    """Return bars of outcomes, each with its share of all shots."""
    most = max(number for _, number in counts)
    letters = len(counts[0][0])
    natural = _LEFT + len(counts) * max(_STEP, letters * 7.2 + 16)
    width = round(min(_WIDTH, max(_NARROW, natural)))
    step = (width - _LEFT) / len(counts)
    steep = letters * 7.2 > step - 4
    foot = min(130, letters * 7 + 14) if steep else 24
    bars = "".join(_bars(counts, shots, most, step, steep=steep))
    return Markup(
        f'<svg class="plot{"" if width == _WIDTH else " small"}" width="{width}" '
        f'viewBox="0 0 {width} {_TOP + _HIGH + foot}" role="img" '
        f'aria-label="Histogram of {len(counts)} outcomes; the table below has the numbers">'
        f"{''.join(_scale(0.0, most / shots, width, share=True))}{bars}</svg>"
    )


def _bars(counts: Sequence[tuple[str, int]], shots: int, most: int, step: float, *, steep: bool) -> Iterator[str]:
    wide = min(64.0, step * 0.72)
    for place, (outcome, number) in enumerate(counts):
        high = number / most * (_HIGH - 18)
        middle = _LEFT + (place + 0.5) * step
        foot = _TOP + _HIGH
        yield (
            f'<g><title>{escape(outcome)}: {number} of {shots}</title><rect class="f-bar" x="{middle - wide / 2:.1f}" '
            f'y="{foot - high:.1f}" width="{wide:.1f}" height="{max(high, 0.5):.1f}"/>'
        )
        if len(counts) <= _NUMBERED:
            yield f'<text x="{middle:.1f}" y="{foot - high - 5:.1f}" text-anchor="middle">{number}</text>'
        where = f'x="{middle:.1f}" y="{foot + 16}" text-anchor="middle"'
        if steep:
            x, y = f"{middle + 4:.1f}", foot + 12
            where = f'x="{x}" y="{y}" text-anchor="end" transform="rotate(-60 {x} {y})"'
        yield f'<text class="mono" {where}>{escape(outcome)}</text></g>'


def estimates(values: Sequence[float], errors: Sequence[float]) -> Markup:
    """Return points with error bars, from the first value to the last."""
    known = [(value, error) for value, error in zip(values, errors, strict=True) if math.isfinite(value)]
    spans = [(value - error, value + error) for value, error in known if math.isfinite(error)] or [(0.0, 0.0)]
    low = min([*(value for value, _ in known), *(low for low, _ in spans), 0.0])
    high = max([*(value for value, _ in known), *(high for _, high in spans), 0.0])
    high = high if high > low else low + 1.0
    points = "".join(_points(values, errors, low, high))
    return Markup(
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_TOP + _HIGH + 24}" role="img" '
        f'aria-label="{len(values)} expectation values with error bars; the table below has the numbers">'
        f"{''.join(_scale(low, high))}{points}</svg>"
    )


def _points(values: Sequence[float], errors: Sequence[float], low: float, high: float) -> Iterator[str]:
    step = (_WIDTH - _LEFT) / len(values)
    every = max(1, -(-len(values) // 20))
    for place, (value, error) in enumerate(zip(values, errors, strict=True)):
        x = _LEFT + (place + 0.5) * step
        if math.isfinite(value):
            is_known = math.isfinite(error) and error > 0
            uncertain = f" \u00b1 {error:.2g}" if is_known else ""
            yield f"<g><title>{place}: {value:.6g}{uncertain}</title>"
            if is_known:
                top, foot = _y(value + error, low, high), _y(value - error, low, high)
                cap = min(5.0, step / 3)
                yield (
                    f'<path class="whisker" d="M{x:.1f} {top:.1f}V{foot:.1f}M{x - cap:.1f} {top:.1f}h{2 * cap:.1f}'
                    f'M{x - cap:.1f} {foot:.1f}h{2 * cap:.1f}"/>'
                )
            y, radius = _y(value, low, high), min(4.0, step / 2)
            yield f'<circle class="f-bar" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/></g>'
        if place % every == 0:
            yield f'<text x="{x:.1f}" y="{_TOP + _HIGH + 17}" text-anchor="middle">{place}</text>'


def _scale(low: float, high: float, width: float = _WIDTH, *, share: bool = False) -> Iterator[str]:
    """Yield the lines across, at round numbers."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    number = math.ceil(low / step - 1e-9)
    while number * step <= high + 1e-9:
        value = number * step
        y = _y(value, low, high) if not share else _TOP + _HIGH - value / high * (_HIGH - 18)
        word = f"{100 * value:.3g} %" if share else f"{value:.3g}".replace("-", "\u2212")
        strong = " zero" if number == 0 else ""
        yield f'<path class="rule{strong}" d="M{_LEFT} {y:.1f}H{width}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{word}</text>'
        number += 1


def _y(value: float, low: float, high: float) -> float:
    return _TOP + 8 + (high - value) / (high - low) * (_HIGH - 16)
