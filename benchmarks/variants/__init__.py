"""The compared variants: one small module per library, one function per variant, and the table of all of them.

A variant is an async context manager that opens a client for a ``Job`` and yields the function that makes one call. Its
module is imported only when it is measured, so that a missing library costs only its own row. Each variant uses the
defaults of its library, except for what its name says and what ``Job`` requires.
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
"""The prefix of the names of this library's variants."""


class Variant(NamedTuple):
    """A row of the table."""

    name: str
    home: str
    """The module and the function, separated by a colon."""
    kinds: frozenset[Kind]
    """The workloads that it takes part in: a variant without retries is not measured with failures."""

    @property
    def make(self) -> Make:
        """Import the function, and return it.

        Raises:
            ImportError: The library is not installed, or does not support this Python.
        """
        module, _, name = self.home.partition(":")
        return cast("Make", getattr(import_module(f"{__name__}.{module}"), name))


_PLAIN: frozenset[Kind] = frozenset({"plain"})
_WIRE: frozenset[Kind] = frozenset({"plain", "tls", "streamed"})
_RETRIES: frozenset[Kind] = frozenset({"plain", "failing"})
_DECODES: frozenset[Kind] = frozenset({"typed"})

BASES: dict[Kind, Variant] = {
    "plain": Variant("bare aiohttp", "bare:default", _PLAIN),
    "tls": Variant("bare aiohttp", "bare:default", _WIRE),
    "streamed": Variant("bare aiohttp", "bare:default", _WIRE),
    "failing": Variant("bare aiohttp, without retries", "bare:default", _PLAIN),
    "typed": Variant("bare aiohttp, json() and model_validate", "bare:by_json", _DECODES),
}
"""The bases of the ratios: bare aiohttp in its usual form."""

VARIANTS = (
    Variant("bare aiohttp, tuned like ours", "bare:tuned", _PLAIN),
    Variant("bare aiohttp, read() and model_validate_json", "bare:by_bytes", _DECODES),
    Variant(f"{OURS}, the defaults", "ours:defaults", _WIRE | _RETRIES | _DECODES),
    Variant(f"{OURS}, through aiohttp's session", "ours:through_session", _PLAIN),
    Variant(f"{OURS}, auth", "ours:authenticated", _RETRIES),
    Variant(f"{OURS}, auth and every limit", "ours:limited", _WIRE | _RETRIES | _DECODES),
    Variant(f"{OURS}, Prometheus by a subscriber", "ours:observed", _RETRIES),
    Variant("aiohttp_retry", "aiohttp_retry:default", _RETRIES),
    Variant("tenacity + aiohttp", "tenacity:around_aiohttp", _RETRIES),
    Variant("tenacity + aiobreaker + aiohttp", "aiobreaker:default", _RETRIES),
    Variant("pyresilience + aiohttp, every pattern", "pyresilience:everything", _RETRIES),
    Variant("clientwright on aiohttp", "clientwright:default", _RETRIES),
    Variant("httpx", "httpx:default", _WIRE),
    Variant("tenacity + httpx", "httpx:with_tenacity", _RETRIES),
    Variant("httpx2", "httpx2:default", _WIRE),
    Variant("aiosonic", "aiosonic:default", _WIRE),
    Variant("wreq (Rust)", "wreq:default", _WIRE),
    Variant("ry (Rust)", "ry:default", _WIRE),
    Variant("pyreqwest (Rust)", "pyreqwest:default", _WIRE),
    Variant("httpunk (Rust), connections only", "httpunk:default", _WIRE),
)
