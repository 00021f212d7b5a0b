"""The answer to "what would this call do?": the chain, every value in force, and who set it."""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._call.settings import ExplainedSetting
from resilient_client._middleware.chain import Link


class Explanation(NamedTuple):
    """What a call would go through; ``str()`` shows it.

    Attributes:
        request: Method and URL, without query values.
        chain: The links, outermost first.
        settings: Every value in force, with the layer that set it.
    """

    request: str
    chain: tuple[Link, ...]
    settings: tuple[ExplainedSetting, ...]

    def __str__(self) -> str:
        lines = [self.request, "", "chain, outermost first:"]
        lines += [f"  {'edge':<12} fallback" for row in self.settings if row.setting == "fallback" and row.value]
        lines += [f"  {link.scope:<12} {link.name}" for link in self.chain]
        lines += [f"  {'wire':<12} transport", "", "settings in force:"]
        width = max(len(row.setting) for row in self.settings)
        lines += [f"  {row.setting:<{width}}  {row.layer:<8} {format_value(row.value)}" for row in self.settings]
        return "\n".join(lines)


def format_value(value: object) -> str:
    """A value in force, for people."""
    if isinstance(value, frozenset):
        return " ".join(map(str, sorted(value)))
    return "off" if value is None else str(value)
