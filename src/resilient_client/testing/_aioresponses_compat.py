"""Makes aioresponses 0.7.9 able to answer at all on aiohttp 3.14, for suites that are built on it.

aioresponses builds aiohttp's response objects by hand, and their constructor changed. It replaces the session's
request method, so what it answers knows no connection: no timeouts, cookies, redirects or aiohttp middlewares are
exercised. `MockUpstream` has none of these limits; a test of our own tells when this module can go.
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
    """A response that may be made without the writer of its request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


def _stream_reader(loop: asyncio.AbstractEventLoop | None = None) -> StreamReader:
    """A reader that never pauses: there is no parser behind it that could resume."""
    loop = loop or asyncio.get_running_loop()
    return StreamReader(ResponseHandler(loop=loop), limit=2**62, loop=loop)


def install_aioresponses_compat() -> Callable[[], None]:
    """Let aioresponses answer on this aiohttp; calling it again changes nothing.

    Returns:
        What undoes it, however often it was installed.

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
