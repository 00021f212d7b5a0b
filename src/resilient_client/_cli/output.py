"""The consoles: stdout for data, stderr for progress and errors.

rich honours ``NO_COLOR``, ``TERM=dumb`` and pipes by itself. This module adds what rich leaves to the program.
"""

from __future__ import annotations

import sys
from typing import NoReturn, TextIO

from rich.console import Console


class _Console(Console):
    """A console that raises on a broken pipe, where rich's own would exit at once."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise, so that ``errors.exit_code_of`` ends the command."""
        raise BrokenPipeError


def out() -> Console:
    """Return the console for data. It writes to the current ``sys.stdout``."""
    return _console(sys.stdout)


def err() -> Console:
    """Return the console for progress and errors. It writes to the current ``sys.stderr``."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    # Markup is off because text from a server may look like it.
    return _Console(file=stream, highlight=False, markup=False, emoji=False)


def supports_live(console: Console) -> bool:
    """Whether ``console`` is a terminal that can show a moving picture."""
    return console.is_terminal and not console.is_dumb_terminal


def supports_colour(console: Console) -> bool:
    """Whether ``console`` shows colours: not through a pipe, with ``NO_COLOR`` or on a dumb terminal."""
    return console.color_system is not None and not console.no_color
