"""A response whose body is still to be read, from either path."""

from __future__ import annotations

from typing import TypeAlias

import aiohttp

from resilient_client._transport.http1.response import DirectResponse

RawResponse: TypeAlias = aiohttp.ClientResponse | DirectResponse
