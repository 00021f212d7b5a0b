"""Who is compared: a small module a library, a function a variant, the table of them here.

A variant is an async context manager that opens a client for a ``Job`` and gives the function that makes one call. The
modules are imported by those who measure: a library that is missing here costs its row, and nothing else. Everybody
keeps the defaults of his library, but for what the name of the variant says and what ``Job`` asks for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import NamedTuple, cast

from benchmarks.workloads import Job, Kind

Call = Callable[[], Awaitable[object]]
Make = Callable[[Job], AbstractAsyncContextManager[Call]]

OURS = "resilient_client"
"""What the names of our own variants begin with."""


class Variant(NamedTuple):
    """A row of the table."""

    name: str
    home: str
    """Module and function."""
    kinds: frozenset[Kind]
    """The workloads it has something for: who does not retry is no answer to failures."""

    @property
    def make(self) -> Make:
        """The function, imported now.

        Raises:
            ImportError: The library is not installed, or not for this Python.
        """
        module, _, name = self.home.partition(":")
        return cast("Make", getattr(import_module(f"{__name__}.{module}"), name))


_ASKS: frozenset[Kind] = frozenset({"plain"})
_RETRIES: frozenset[Kind] = frozenset({"plain", "failing"})
_DECODES: frozenset[Kind] = frozenset({"typed"})

BASES: dict[Kind, Variant] = {
    "plain": Variant("bare aiohttp", "bare:default", _ASKS),
    "failing": Variant("bare aiohttp, without retries", "bare:default", _ASKS),
    "typed": Variant("bare aiohttp, json() and model_validate", "bare:by_json", _DECODES),
}
"""What the others are compared with: what people write today."""

VARIANTS = (
    Variant("bare aiohttp, tuned like ours", "bare:tuned", _ASKS),
    Variant("bare aiohttp, read() and model_validate_json", "bare:by_bytes", _DECODES),
    Variant(f"{OURS}, the defaults", "ours:defaults", _RETRIES | _DECODES),
    Variant(f"{OURS}, through aiohttp's session", "ours:through_session", _ASKS),
    Variant(f"{OURS}, auth", "ours:authenticated", _RETRIES),
    Variant(f"{OURS}, auth and every limit", "ours:limited", _RETRIES | _DECODES),
    Variant(f"{OURS}, Prometheus by a subscriber", "ours:observed", _RETRIES),
    Variant("aiohttp_retry", "aiohttp_retry:default", _RETRIES),
    Variant("tenacity + aiohttp", "tenacity:around_aiohttp", _RETRIES),
    Variant("tenacity + aiobreaker + aiohttp", "aiobreaker:default", _RETRIES),
    Variant("pyresilience + aiohttp, every pattern", "pyresilience:everything", _RETRIES),
    Variant("clientwright on aiohttp", "clientwright:default", _RETRIES),
    Variant("httpx", "httpx:default", _ASKS),
    Variant("tenacity + httpx", "httpx:with_tenacity", _RETRIES),
    Variant("wreq (Rust)", "wreq:default", _ASKS),
)
