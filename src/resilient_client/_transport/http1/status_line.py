"""Reads the status line of a response (RFC 9112 section 4)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from resilient_client._transport.http1.failure import RefusedError
from resilient_client._transport.http1.fields import is_dangerous

START: Final = b"HTTP/1."
"""How every status line begins. RFC 9112 section 2.3: the name is case-sensitive."""
KNOWN_STATUS_LINES: Final = {
    f"HTTP/1.1 {status.value}{phrase}".encode(): status.value
    for status in HTTPStatus
    for phrase in ("", " ", f" {status.phrase}")
    if status >= 200
}
"""The usual status lines of final responses, each with its status code."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([0-9]{3})(?: .*)?", re.DOTALL)


def read_status_line(line: bytes) -> tuple[int, int]:
    """Return the minor version of HTTP/1 and the status code. The reason phrase means nothing.

    A minor version above 1 is read as HTTP/1.1 (RFC 9110 section 2.5).

    Raises:
        RefusedError: The line is malformed, or its status code is one that no response to this client has.
    """
    found = _STATUS_LINE.fullmatch(line)
    if found is None or is_dangerous(line):
        raise RefusedError("a malformed status line")
    minor, status = int(found[1]), int(found[2])
    if status < 100:
        raise RefusedError(f"status {status:03}")  # RFC 9110 section 15
    if status == 101:
        raise RefusedError("101 Switching Protocols, unasked")  # RFC 9110 section 7.8
    return minor, status
