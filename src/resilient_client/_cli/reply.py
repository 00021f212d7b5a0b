"""Writes a reply: the bytes of the body to a pipe, a readable form to a terminal.

On a terminal JSON is indented and coloured, text is sanitized, and a binary body is replaced by its size and type.
"""

from __future__ import annotations

import json
import sys

from multidict import CIMultiDictProxy
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from resilient_client._cli.output import err, out
from resilient_client._cli.text import format_status, sanitize, status_style
from resilient_client._core.response import Response

_LONGEST_COLOURED = 1 << 20  # bytes of JSON. Colouring more would take seconds
_TEXTUAL = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form")


def show_reply(response: Response, *, include: bool, with_body: bool = True) -> None:
    """Write a reply to stdout.

    Args:
        response: The reply.
        include: Whether to write status and headers before the body.
        with_body: Whether to write the body, or ``False`` if it went to a file.
    """
    console = out()
    if include:
        console.print(format_head(response.status, response.headers), soft_wrap=True)
        if response.content and with_body:
            console.print()
    if console.is_terminal and with_body and (response.content or not include):
        _show_body(console, response)
    elif with_body:
        sys.stdout.flush()
        sys.stdout.buffer.write(response.content)
    if response.truncated:
        err().print(f"only the first {len(response.content):,} bytes of this error body were read", style="yellow")


def format_head(status: int, headers: CIMultiDictProxy[str]) -> Text:
    """Format the status line and the headers, in the order in which they were received."""
    text = Text(format_status(status), style=f"bold {status_style(status)}")
    for name, value in headers.items():
        text.append(f"\n{sanitize(name)}", style="not bold cyan").append(
            f": {sanitize(value)}", style="not bold default"
        )
    return text


def format_body(content: bytes, content_type: str, text: str) -> Text | None:
    """Format a body for a terminal, or ``None`` if it is binary.

    Args:
        content: The bytes of the body.
        content_type: The declared media type, or ``""``.
        text: The bytes decoded with the declared encoding.
    """
    media = content_type.partition(";")[0].strip().lower()
    if not media.startswith(_TEXTUAL) and not media.endswith(("+json", "+xml")) and not _looks_like_text(content):
        return None
    if (media.endswith("json") or not media) and len(content) <= _LONGEST_COLOURED:
        try:
            indented = json.dumps(json.loads(content), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return Text(sanitize(text).rstrip("\n"))
        return JSONHighlighter()(sanitize(indented))
    return Text(sanitize(text).rstrip("\n"))


def _show_body(console: Console, response: Response) -> None:
    media = response.headers.get("content-type", "")
    body = format_body(response.content, media, response.text)
    if not response.content:
        err().print(f"{format_status(response.status)}, no body", style="dim")
    elif body is None:
        size, kind = f"{len(response.content):,} bytes", f" of {sanitize(media)}" if media else ""
        err().print(f"{size}{kind}, not for a terminal: save them with --output FILE", style="yellow")
    else:
        console.print(body, soft_wrap=True)


def _looks_like_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\x00" not in text
