"""Runs the real program as a process: with pipes, or at a terminal whose screen the test reads."""

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
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO, Any, Self

import pyte

PROGRAM = (sys.executable, "-m", "resilient_client")
TIME_LIMIT = 300.0
"""Seconds after which a test gives up; a busy machine starts Python slowly."""

# Variables that change how Python or rich treat a stream. Without PYTHONUNBUFFERED the program buffers its output, as
# it does for users: only then can a test see data that is flushed when the interpreter exits.
_IGNORED_VARIABLES = (
    "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM",
    "PYTHONUNBUFFERED",
)  # fmt: skip  # one name per line is not easier to read


def piped(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end, with pipes for stdin, stdout and stderr."""
    return completed([*PROGRAM, *arguments], input=stdin, env=clean_environment(**environment))


def completed(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``command`` to its end. Stdout and stderr are captured unless ``options`` say otherwise."""
    captured = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": clean_environment()}
    return subprocess.run(command, timeout=TIME_LIMIT, check=False, **{**captured, **options})  # noqa: S603 -- ours


def started(*arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start the program with pipes for stdout and stderr."""
    command = [*PROGRAM, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=clean_environment())  # noqa: S603 -- ours


def output_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    """Return the pipe from which the program's stdout is read."""
    assert process.stdout is not None
    return process.stdout


def errors_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    """Return the pipe from which the program's stderr is read."""
    assert process.stderr is not None
    return process.stderr


class Terminal:
    """The program at a terminal of fixed size. Leaving the ``with`` block kills it if it still runs.

    Attributes:
        raw: Every byte that the program wrote, escape sequences included.
        screen: The visible screen.
    """

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 40, **environment: str) -> None:
        self.raw = b""
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(  # noqa: S603 -- our own program
            [*PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=clean_environment(**{"TERM": "xterm-256color", **environment}),
        )
        os.close(slave)
        self._ends_at = time.monotonic() + TIME_LIMIT

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without the empty lines at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    @property
    def text(self) -> str:
        """The lines of the screen as one text."""
        return "\n".join(self.lines)

    def wait_for(self, seen: Callable[[str], bool]) -> str:
        """Read until ``seen`` is true for the text of the screen, and return that text."""
        while not seen(self.text):
            assert self._read(), f"the program ended, and the screen shows\n{self.text}"
        return self.text

    def finish(self) -> int:
        """Read until the program ends, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(TIME_LIMIT)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, self._ends_at - time.monotonic()))
        assert ready, f"the program is silent, and the screen shows\n{self.text}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: no process has the other end open
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def clean_environment(**changes: str) -> dict[str, str]:
    """Return the environment of this process without ``_IGNORED_VARIABLES``, but with ``changes``."""
    kept = {name: value for name, value in os.environ.items() if name not in _IGNORED_VARIABLES}
    return {**kept, **changes}
