"""Sends the body of a request that is not sent in one piece with its head (RFC 9112 sections 6 and 7.1)."""

from __future__ import annotations

import asyncio

from resilient_client._transport.http1.connection import Connection
from resilient_client._transport.request_body import SourceFailed, Upload
from resilient_client._transport.trace import WireTrace


async def send_body(
    upload: Upload, connection: Connection, trace: WireTrace, *, chunked: bool, asks_first: bool, silence: float | None
) -> bool:
    """Send the pieces of ``upload``, and return whether all of them are sent.

    Runs in a task of its own: the response may come before the body is sent. It ends early if the connection is lost,
    and when it is cancelled. A source that fails has aborted the connection, and so does a cancellation by others.

    Args:
        upload: The body.
        connection: Its head is sent.
        trace: Of the request; bounds the wait for the server's answer to ``Expect``.
        chunked: The size is not known.
        asks_first: Wait until the server asks for the body.
        silence: Seconds for which the server may then be silent, or ``None``.
    """
    try:
        if asks_first and not await _is_asked_for(connection, trace.continue_wait):
            return False
        async for piece in upload:
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await connection.drain()
            if connection.lost:
                return False
    except SourceFailed:
        return False
    except asyncio.CancelledError as cancelled:
        if upload.sending is not None:  # not by ``Upload.close``, so a call waits for the response
            upload.failure = cancelled
            trace.abort()
        raise
    finally:
        await upload.end_source()
    if chunked:
        connection.write(b"0\r\n\r\n")
    if silence is not None:
        connection.limit_silence(silence)
    return True


async def _is_asked_for(connection: Connection, seconds: float) -> bool:
    """Whether the body is to be sent: the server asks for it, or is silent for so long.

    The 100 (Continue) may never come: it cannot pass an HTTP/1.0 proxy (RFC 9110 section 10.1.1). A final response
    instead means that the server does not want the body.
    """
    try:
        async with asyncio.timeout(seconds):
            await connection.asked_for_body()
    except TimeoutError:
        pass
    return not (connection.status or connection.failure)
