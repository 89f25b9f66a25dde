"""How long a run was in each stage, as a bar of parts: it waited, it was submitted, it was at the provider."""

from __future__ import annotations

from markupsafe import Markup

#: Units.
_WIDTH, _HIGH = 180, 10


def stages(spans: tuple[float, float, float], longest: float) -> Markup:
    """Return a bar of seconds waited, submitting and at the provider, where the longest of all bars fills the width."""
    parts, x = [], 0.0
    for kind, seconds, inset in zip(("wait", "claim", "run"), spans, (3.5, 1.5, 0), strict=True):
        wide = seconds / longest * _WIDTH if longest else 0.0
        if wide > 0:
            high = _HIGH - 2 * inset
            parts.append(
                f'<rect class="f-{kind}" x="{x:.1f}" y="{inset}" width="{max(wide, 0.7):.1f}" height="{high}"/>'
            )
        x += wide
    return Markup(f'<svg class="stages" viewBox="0 0 {_WIDTH} {_HIGH}" aria-hidden="true">{"".join(parts)}</svg>')


def bar(done: int, total: int, kind: str) -> Markup:
    """Return how much of something is done; the words stand beside it."""
    wide = _WIDTH * done / total if total else 0.0
    return Markup(
        f'<svg class="bar" viewBox="0 0 {_WIDTH} {_HIGH}" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="{_WIDTH}" height="{_HIGH}"/><rect class="f-{kind}" width="{wide:.1f}" '
        f'height="{_HIGH}"/></svg>'
    )
