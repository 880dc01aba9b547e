"""Figures as SVG, by matplotlib, in colours that are read on white and on black."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # it takes half a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"  # stands for the colour of the page's text
COLOURS = ("#3b76d6", "#d2691e", "#2e9e5b", "#b0478f", "#8a7d1f", "#5f6b7a")
WIDTH = 4.4  # of a figure, in inches
MOST_POINTS = 200  # of a curve: more cannot be seen


@contextlib.contextmanager
def drawing(columns: int = 1, *, height: float = 3.2) -> Iterator[tuple[list[Figure], list[Axes]]]:
    """Yields some figures, which stand side by side where there is room, and the axes of each.

    Args:
        columns: how many figures.
        height: in inches.
    """
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text, in the page's font
        "svg.hashsalt": "podtune",  # the same figure has the same names
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "text.parse_math": False,  # a name with a dollar sign is a name
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLOURS),
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style):
        figures = [Figure(figsize=(WIDTH, height), layout="constrained") for _ in range(columns)]
        yield figures, [figure.subplots() for figure in figures]


def svg_of(figures: Sequence[Figure]) -> str:
    """The figures as elements of a page, one after the other."""
    return "".join(map(_svg, figures))


def _svg(figure: Figure) -> str:
    """The figure: no colour behind it, no name that another one has."""
    written = io.StringIO()
    with warnings.catch_warnings():
        # that the fonts here lack a character: the page has its reader's fonts
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    named = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    prefix = f"f{zlib.crc32(svg.encode()):08x}"  # of this figure alone
    svg = re.sub(r' id="([^"]+)"', lambda match: _named(match[1], named, prefix), svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    return re.sub(r"\n\s*", "\n", svg.replace(INK, "currentColor"))


def _named(name: str, named: set[str], prefix: str) -> str:
    return f' id="{prefix}{name}"' if name in named else ""


def thinned(*values: np.ndarray) -> list[np.ndarray]:
    """Curves of as many points as can be seen, the first and the last among them."""
    count = len(values[0])
    if count <= MOST_POINTS:
        return list(values)
    places = np.unique(np.linspace(0, count - 1, MOST_POINTS).astype(int))
    return [value[places] for value in values]


def bars(
    axes: Axes, names: Sequence[str], values: Sequence[float], errors: np.ndarray | None = None
) -> None:
    """Lying bars, the first on top.

    Args:
        axes: to draw on.
        names: of the bars.
        values: how long they are.
        errors: (2, n) how far below and above the value may be.
    """
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, xerr=errors, color=COLOURS[0], ecolor=INK, height=0.7)
    axes.set_yticks(places, [shortened(name) for name in names])


def shortened(name: str, most: int = 24) -> str:
    """A label's name as it fits beside an axis."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
