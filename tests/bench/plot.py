"""Draws series as SVG: one small plot for each quantity, below one another, readable on light and dark ground.

Needs no library: a polyline and a few labels are all there is to draw.
"""

from html import escape

WIDTH, PLOT, GAP = 720, 96, 40
LEFT, RIGHT, TOP = 150, 24, 56

STYLE = """<style>
text{font:12px sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.quiet{fill:#57606a}
.line{fill:none;stroke:#0969da;stroke-width:1.5;stroke-linejoin:round}.axis{stroke:#afb8c1}.warm{fill:#afb8c1;fill-opacity:.25}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.line{stroke:#58a6ff}.axis{stroke:#484f58}
.warm{fill:#6e7681}}
</style>"""


def drawing(title, series, warm_up, notes):
    """`series`: pairs of an x and the quantities by name. Up to `warm_up` the ground is shaded. `notes` stand beside a plot."""
    names = list(series[0][1])
    last = max(1, series[-1][0])
    height = TOP + len(names) * (PLOT + GAP)

    def x(number):
        return LEFT + number / last * (WIDTH - LEFT - RIGHT)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        STYLE,
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        f'<text class="quiet" x="{LEFT}" y="42">from left to right: {last:,} reloads; shaded: the warm-up</text>',
    ]
    for row, name in enumerate(names):
        top = TOP + row * (PLOT + GAP)
        values = [look[name] for _, look in series]
        # From nothing: a flat line must look flat.
        high = max(values) * 1.15 or 1
        points = " ".join(f"{x(number):.1f},{top + PLOT * (1 - look[name] / high):.1f}" for number, look in series)
        out += [
            f'<rect class="warm" x="{LEFT}" y="{top}" width="{x(warm_up) - LEFT:.1f}" height="{PLOT}"/>',
            f'<path class="axis" fill="none" d="M{LEFT} {top}V{top + PLOT}H{WIDTH - RIGHT}"/>',
            f'<text x="{LEFT - 10}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<text class="quiet" x="{LEFT - 10}" y="{top + 32}" text-anchor="end">last {values[-1]:,.5g}</text>',
            f'<text class="quiet" x="{LEFT - 10}" y="{top + 48}" text-anchor="end">{escape(notes.get(name, ""))}</text>',
            f'<text class="quiet" x="{LEFT - 10}" y="{top + PLOT}" text-anchor="end">0</text>',
            f'<polyline class="line" points="{points}"/>',
        ]
    return "\n".join([*out, "</svg>", ""])
