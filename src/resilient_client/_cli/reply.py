"""What a reply looks like: raw bytes through a pipe, readable on a terminal.

A terminal gets JSON indented and coloured, text without anything that would command it, and of a binary body only its
size and type. A pipe gets the bytes of the body and nothing else.
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

_LONGEST_COLOURED = 1 << 20  # bytes of JSON; colouring more takes seconds, and nobody reads it
_TEXTUAL = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form")


def show_reply(response: Response, *, include: bool, with_body: bool = True) -> None:
    """Write a reply to stdout, as suits who reads it.

    Args:
        response: What came.
        include: Whether status and headers are shown, too.
        with_body: Whether its body is; ``False`` if that went elsewhere.
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
    """Status line and headers, as they came."""
    text = Text(format_status(status), style=f"bold {status_style(status)}")
    for name, value in headers.items():
        text.append(f"\n{sanitize(name)}", style="not bold cyan").append(
            f": {sanitize(value)}", style="not bold default"
        )
    return text


def format_body(content: bytes, content_type: str, text: str) -> Text | None:
    """A body for people, or ``None`` for one that only programs can read.

    Args:
        content: Its bytes.
        content_type: Its media type as declared, or ``""``.
        text: The bytes decoded as declared.
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
    shown = format_body(response.content, media, response.text)
    if not response.content:
        err().print(f"{format_status(response.status)}, no body", style="dim")
    elif shown is None:
        size, kind = f"{len(response.content):,} bytes", f" of {sanitize(media)}" if media else ""
        err().print(f"{size}{kind}, not for a terminal: save them with --output FILE", style="yellow")
    else:
        console.print(shown, soft_wrap=True)


def _looks_like_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\x00" not in text
