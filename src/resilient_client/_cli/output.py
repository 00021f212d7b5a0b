"""Where text goes: data to stdout, progress and errors to stderr, colour only where somebody looks.

rich honours ``NO_COLOR``, ``TERM=dumb`` and pipes by itself; here is what it leaves open.
"""

from __future__ import annotations

import sys
from typing import NoReturn, TextIO

from rich.console import Console


class _Console(Console):
    """A console that tells of a broken pipe instead of exiting on the spot."""

    def on_broken_pipe(self) -> NoReturn:
        """Let the one place that ends commands end this one, too."""
        raise BrokenPipeError


def out() -> Console:
    """The console for data: stdout as it is now."""
    return _console(sys.stdout)


def err() -> Console:
    """The console for progress and errors: stderr as it is now."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    """Text is taken as it is: what came from elsewhere may look like markup."""
    return _Console(file=stream, highlight=False, markup=False, emoji=False)


def supports_live(console: Console) -> bool:
    """Whether somebody looks who can be shown a picture that moves."""
    return console.is_terminal and not console.is_dumb_terminal


def supports_colour(console: Console) -> bool:
    """Whether colours can tell things apart: not through a pipe, with ``NO_COLOR`` or on a dumb terminal."""
    return console.color_system is not None and not console.no_color
