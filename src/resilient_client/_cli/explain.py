"""``--explain`` on a terminal: the chain, outermost first, and every value in force with the layer that set it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from resilient_client._client.explain import Explanation, format_value


def render_explanation(explanation: Explanation) -> RenderableType:
    """Render the explanation of a call. Values that are not defaults are highlighted."""
    return Group(Text(explanation.request, style="bold"), Text(), _chain(explanation), Text(), _settings(explanation))


def _chain(explanation: Explanation) -> Table:
    table = Table.grid(padding=(0, 2))
    last = ""
    for scope, name in (*((link.scope, link.name) for link in explanation.chain), ("wire", "transport")):
        table.add_row(Text("" if scope == last else scope, style="dim"), Text(f"│ {name}"))
        last = scope
    return table


def _settings(explanation: Explanation) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    table.add_column("set by")
    for row in explanation.settings:
        style = "dim" if row.layer == "default" else "bold cyan"
        table.add_row(row.setting, format_value(row.value), Text(row.layer, style=style))
    return table
