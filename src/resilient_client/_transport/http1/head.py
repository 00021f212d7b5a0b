"""Writes the head of a request (RFC 9112 sections 2 and 3)."""

from __future__ import annotations

from multidict import CIMultiDict


def field_lines(headers: CIMultiDict[str]) -> bytes:
    """The fields as lines, in order.

    Args:
        headers: Values are encoded as UTF-8.

    Raises:
        ValueError: A line break in one of them would begin another field or another request.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    count = len(headers)
    if lines.count("\n") != count or lines.count("\r") != count or "\0" in lines:
        raise ValueError("a line break in a header field")
    return lines.encode()
