"""``--explain`` on a terminal: the chain from top to bottom, and every value in force with the layer that set it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from resilient_client._client.explain import Explanation, format_value


def explanation(told: Explanation) -> RenderableType:
    """The explanation of a call, for people; what is not a default stands out."""
    return Group(Text(told.request, style="bold"), Text(), _chain(told), Text(), _settings(told))


def _chain(told: Explanation) -> Table:
    table = Table.grid(padding=(0, 2))
    last = ""
    for scope, name in (*((link.scope, link.name) for link in told.chain), ("wire", "transport")):
        table.add_row(Text("" if scope == last else scope, style="dim"), Text(f"│ {name}"))
        last = scope
    return table


def _settings(told: Explanation) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    table.add_column("set by")
    for row in told.settings:
        style = "dim" if row.layer == "default" else "bold cyan"
        table.add_row(row.setting, format_value(row.value), Text(row.layer, style=style))
    return table
