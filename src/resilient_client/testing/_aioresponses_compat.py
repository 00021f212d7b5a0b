"""Makes aioresponses 0.7.9 work on aiohttp 3.14, for test suites that are built on it.

aioresponses builds aiohttp's response objects by hand, and their constructor changed. It also replaces the session's
request method, so its replies exercise no connection: no timeouts, cookies, redirects or aiohttp middlewares.
`MockUpstream` has none of these limits. A test of this library fails when aioresponses works by itself, and this
module can then be removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from unittest.mock import Mock

from aiohttp import ClientResponse, StreamReader
from aiohttp.client_proto import ResponseHandler

from resilient_client._core.errors import MissingExtraError


class _CompatResponse(ClientResponse):
    """An aiohttp response that can be built without ``stream_writer``, an argument aiohttp 3.14 made mandatory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


def _stream_reader(loop: asyncio.AbstractEventLoop | None = None) -> StreamReader:
    """Create a reader that never pauses, because there is no parser behind it that could resume it."""
    loop = loop or asyncio.get_running_loop()
    return StreamReader(ResponseHandler(loop=loop), limit=2**62, loop=loop)


def install_aioresponses_compat() -> Callable[[], None]:
    """Patch aioresponses so that it works on this aiohttp. Calling it again changes nothing.

    Returns:
        A function that removes the patch, however often it was installed.

    Raises:
        MissingExtraError: aioresponses is not installed.
    """
    try:
        core = import_module("aioresponses.core")
    except ImportError:
        raise MissingExtraError("aioresponses is not installed: pip install 'resilient-client[testing]'") from None
    if not _originals:
        for name, replacement in _REPLACEMENTS.items():
            _originals[name] = getattr(core, name)
            setattr(core, name, replacement)

    def uninstall() -> None:
        while _originals:
            setattr(core, *_originals.popitem())

    return uninstall


_REPLACEMENTS: Mapping[str, object] = {"ClientResponse": _CompatResponse, "stream_reader_factory": _stream_reader}
_originals: dict[str, object] = {}
