"""Formats durations, statuses and text from servers for the screen. Pure functions."""

from __future__ import annotations

import re
from http import HTTPStatus

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def format_seconds(seconds: float) -> str:
    """Format a duration with two or three digits: ``0.4 ms``, ``142 ms``, ``1.24 s``, ``75 s``."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 59.95 else f"{seconds:.0f} s"


def format_status(status: int) -> str:
    """Format a status with its phrase: ``503 Service Unavailable``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def status_style(status: int) -> str:
    """Return the colour of a status."""
    if status < 300:
        return "green"
    return "yellow" if status < 400 else "red"


def shorten_middle(text: str, width: int) -> str:
    """Shorten ``text`` to ``width`` characters by cutting its middle. The two ends of a URL say the most."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def sanitize(text: str) -> str:
    """Replace control characters and marks that change the text direction. Line breaks and tabs are kept."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
