"""A response on a connection of our own, whose content may still arrive."""

from __future__ import annotations

from collections.abc import Callable

from multidict import CIMultiDictProxy

from resilient_client._transport.http1.connection import Connection
from resilient_client._transport.http1.failure import Failure


class ResponseFailed(Exception):  # noqa: N818 - internal: the transport translates it
    """The response did not become complete."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


class DirectResponse:
    """The head of a response and the way to its content. It is its own ``content``, as a stream of aiohttp would be.

    It owns its connection until ``release`` or ``close``.

    Attributes:
        status: As received.
        headers: As received.
    """

    __slots__ = ("_connection", "_give_back", "headers", "status")

    def __init__(self, connection: Connection, give_back: Callable[[Connection], None]) -> None:
        """Take over the response of ``connection``.

        Args:
            connection: The head of its response is there.
            give_back: Called with the connection on release.
        """
        self.status = connection.status
        self.headers: CIMultiDictProxy[str] = connection.headers
        self._connection = connection
        self._give_back: Callable[[Connection], None] | None = give_back

    @property
    def content(self) -> DirectResponse:
        """The content, not decoded."""
        return self

    @property
    def content_length(self) -> int | None:
        """The announced size of the content, in bytes."""
        return self._connection.content_length

    def is_eof(self) -> bool:
        """Whether all content has arrived."""
        return self._connection.complete

    def at_eof(self) -> bool:
        """Whether all content has been read."""
        return self._connection.complete and not self._connection.has_content

    def read_nowait(self) -> bytes:
        """The content that has arrived."""
        return self._connection.take_body()

    async def readany(self) -> bytes:
        """The next content; ``b""`` at its end.

        Raises:
            ResponseFailed: The rest will never come.
        """
        piece = await self._connection.read()
        if not piece and (failure := self._connection.failure) is not None:
            raise ResponseFailed(failure)
        return piece

    def release(self) -> None:
        """Give the connection back; the content is read."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back(self._connection)

    def close(self) -> None:
        """Close the connection."""
        if self._give_back is not None:
            self._give_back = None
            self._connection.close()
