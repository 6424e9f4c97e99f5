"""The look of the charts: inline SVG that takes its colours from the page, legible on light and dark paper."""

import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

__all__ = ["INK", "MUTED", "PAPER", "RULE", "SERIES", "SIZE", "STYLE", "environment", "picture_style", "svg"]

# matplotlib draws in these colours; each becomes a variable of the page's style sheet
_VARIABLES = {"#010101": "ink", "#020202": "muted", "#030303": "rule", "#040404": "paper"}
SERIES = [f"#05050{index}" for index in range(1, 7)]
_VARIABLES |= {colour: f"series-{index}" for index, colour in enumerate(SERIES, 1)}
INK, MUTED, RULE, PAPER = list(_VARIABLES)[:4]
SIZE = (4.6, 3.2)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler(color={SERIES})",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
}


def svg(figure: "Figure", name: str) -> str:
    """The figure as an SVG element whose colours and font are the page's."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--font)", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r' height="[\d.]+pt"', "", svg, count=1)
    attributes = rf' role="img" aria-label="{html.escape(name)}" style="max-width: \1pt"'
    return re.sub(r' width="([\d.]+)pt"', attributes, svg, count=1)


def picture_style() -> dict[Any, Any]:
    """`STYLE` in the colours of the light page, for pictures, which have no style sheet."""
    sheet = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    light = dict(reversed(re.findall(r"--([\w-]+): (#\w+)", sheet)))  # the first of two is that of the light page

    def painted(value: Any) -> Any:
        return re.sub("|".join(_VARIABLES), lambda found: light[_VARIABLES[found[0]]], value)

    return {name: painted(value) if isinstance(value, str) else value for name, value in STYLE.items()}


def environment() -> "Environment":
    """Where the templates of the pages lie."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("weightspace.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
