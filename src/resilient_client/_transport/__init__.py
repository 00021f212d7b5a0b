"""TOUCHES THE WIRE: one request an attempt, its body read, foreign errors translated once. The only user of aiohttp.

``session`` sends, ``pool`` hands out places, ``trace`` knows how far an attempt has come, with ``sockets`` and
``certificate`` as its helpers, ``upload`` and ``download`` move bodies, ``decoding`` undoes codings, ``errors``
translates.
"""

from resilient_client._transport.transport import AiohttpTransport

__all__ = ["AiohttpTransport"]
