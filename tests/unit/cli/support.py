"""Helpers for the unit tests of the command line."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console, RenderableType

from resilient_client._cli import main


class Ran(NamedTuple):
    """The exit code of a command, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str


def ran(*arguments: str) -> Ran:
    """Run a command in this process, with streams that are not a terminal."""
    with _streams() as (out, err):
        code = main(arguments)
        sys.stdout.flush()
        return Ran(code, out.getvalue().decode(), err.getvalue().decode())


def drawn(picture: RenderableType, width: int = 80, *, colours: bool = False) -> list[str]:
    """Return the lines of a picture on a terminal of this width."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colours, color_system="standard" if colours else None)
    console.print(picture, soft_wrap=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@contextlib.contextmanager
def _streams() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, err = io.BytesIO(), io.BytesIO()
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        contextlib.redirect_stderr(io.TextIOWrapper(err, encoding="utf-8", write_through=True)),
    ):
        yield out, err
