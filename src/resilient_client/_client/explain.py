"""The result of ``explain``: the chain of a call, every setting in force, and the layer that set it."""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._call.settings import ExplainedSetting
from resilient_client._middleware.chain import Link


class Explanation(NamedTuple):
    """What a call would do, without sending it. ``str()`` formats it as text.

    Attributes:
        request: Method and URL, without query values.
        chain: The links of the middleware chain, outermost first.
        settings: Every setting in force, with the layer that set it.
        path: How requests are sent, if the transport says it: over own connections, or through a session and why.
    """

    request: str
    chain: tuple[Link, ...]
    settings: tuple[ExplainedSetting, ...]
    path: str = ""

    def __str__(self) -> str:
        settings = self.settings
        lines = [self.request, "", "chain, outermost first:"]
        lines += [f"  {'call':<12} fallback" for each in settings if each.setting == "fallback" and each.value]
        lines += [f"  {link.scope:<12} {link.name}" for link in self.chain]
        lines += [f"  {'wire':<12} transport {self.path}".rstrip(), "", "settings in force:"]
        width = max(len(each.setting) for each in settings)
        lines += [f"  {each.setting:<{width}}  {each.layer:<8} {format_value(each.value)}" for each in settings]
        return "\n".join(lines)


def format_value(value: object) -> str:
    """Format the value of a setting for reading; ``None`` as "off"."""
    if isinstance(value, frozenset):
        return " ".join(map(str, sorted(value)))
    return "off" if value is None else str(value)
