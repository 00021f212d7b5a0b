"""The real program, run as people run it: through a pipe, or at a terminal whose screen is read as it is seen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pyte

PROGRAM = (sys.executable, "-m", "resilient_client")
PATIENCE = 300.0
"""Seconds that everything together may take before a test gives up; a busy machine starts Python slowly."""


def piped(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program with pipes for stdin, stdout and stderr."""
    return subprocess.run(  # noqa: S603 -- our own program
        [*PROGRAM, *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False, env=_env(**environment)
    )


class Terminal:
    """The program at a terminal of fixed size; for ``with``, which ends it.

    Attributes:
        raw: Every byte that came, escape sequences included.
        screen: What is to be seen now.
    """

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 40, **environment: str) -> None:
        self.raw = b""
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(  # noqa: S603 -- our own program
            [*PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=_env(**{"TERM": "xterm-256color", **environment}),
        )
        os.close(theirs)
        self._ends_at = time.monotonic() + PATIENCE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without the empty ones at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    @property
    def text(self) -> str:
        """The screen in one piece."""
        return "\n".join(self.lines)

    def wait_for(self, seen: Callable[[str], bool]) -> str:
        """Read until ``seen`` holds for the screen, and give the screen."""
        while not seen(self.text):
            assert self._read(), f"the program ended, and the screen shows\n{self.text}"
        return self.text

    def finish(self) -> int:
        """Read until the program ends, and give its exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, self._ends_at - time.monotonic()))
        assert ready, f"nothing happens any more, and the screen shows\n{self.text}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody holds the other side any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def _env(**changes: str) -> dict[str, str]:
    """Our environment without what would change how a terminal is treated."""
    kept = {name: value for name, value in os.environ.items() if name not in _STEERING}
    return {**kept, **changes}


_STEERING = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM")
