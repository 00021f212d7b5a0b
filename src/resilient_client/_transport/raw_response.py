"""The head of a reply, its body still to be read: aiohttp's, or the little of it that the direct way needs."""

from __future__ import annotations

from typing import TypeAlias

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDictProxy

from resilient_client._transport.aiohttp_internals import Connection


class FastPathResponse:
    """The head of a reply; its body is still to be read. Gives its connection back at the body's end.

    Attributes:
        status: As it came.
        headers: As they came.
        content: The body, not decoded.
    """

    def __init__(
        self, status: int, headers: CIMultiDictProxy[str], content: aiohttp.StreamReader, connection: Connection | None
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._connection = connection

    @property
    def content_length(self) -> int | None:
        """The announced size of the body, in bytes."""
        length = self.headers.get(hdrs.CONTENT_LENGTH)
        return None if length is None else int(length)

    def release(self) -> None:
        """Give the connection back, for others to use; the body is read."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.release()

    def close(self) -> None:
        """Close the connection, and wake whoever reads the body."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            if self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
            connection.close()


RawResponse: TypeAlias = aiohttp.ClientResponse | FastPathResponse
