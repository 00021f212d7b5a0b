"""A comparison as one HTML file: the picture as inline SVG, the table and the command. The file loads nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._cli.simulate.figure import figure, saved
from resilient_client._cli.simulate.numbers import LEGEND, MEASURES, describe_seeds, format_spread, spread

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #202124; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem; border-bottom: 1px solid #dadce0; text-align: right; }
th:first-child { text-align: left; font-weight: normal; }
code { background: #f1f3f4; padding: .15rem .4rem; overflow-wrap: anywhere; }
.note { color: #5f6368; }
"""


def page(experiment: Experiment, results: Sequence[Result]) -> str:
    """Return the text of the file."""
    name = escape(experiment.scenario.name)
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}: resilient-client simulate</title>
<style>{_STYLE}</style>
<h1>{name}</h1>
<p>{escape(experiment.about)}</p>
{_inline(saved(figure(experiment, results), "svg").decode(), _alt_text(experiment, results))}
<h2>In numbers</h2>
<p class="note">{experiment.scenario.duration:g} s; {escape(describe_seeds(experiment.seeds))}</p>
{_table(results)}
<p class="note">{escape(LEGEND)}</p>
<p>Made by <code>{escape(experiment.command)}</code></p>
</html>
"""


def _table(results: Sequence[Result]) -> str:
    head = "".join(f'<th scope="col">{escape(result.name)}</th>' for result in results)
    rows = []
    for measure in MEASURES:
        cells = "".join(f"<td>{escape(format_spread(measure, spread(result, measure)))}</td>" for result in results)
        rows.append(f'<tr><th scope="row">{escape(f"{measure.name}, {measure.unit}")}</th>{cells}</tr>')
    return f"<table>\n<tr><th></th>{head}</tr>\n{chr(10).join(rows)}\n</table>"


def _inline(svg: str, label: str) -> str:
    """Make an SVG part of a page: without prologue, namespaces and metadata, and so without any external address."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(?::\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def _alt_text(experiment: Experiment, results: Sequence[Result]) -> str:
    """Describe the picture for screen readers. The table holds the numbers."""
    names = ", ".join(result.name for result in results)
    return f"Offered calls, attempts, goodput and open circuits over time of {experiment.scenario.name}: {names}"
