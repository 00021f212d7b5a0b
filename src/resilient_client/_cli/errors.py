"""How a command ends: its exit code, and one sentence on stderr if there is something to report.

Commands raise ``ConfigurationError`` or ``InvalidRequestError`` for wrong input (exit code 2, nothing was sent), and
``typer.Exit`` to end with another code. Only this module turns exceptions into exit codes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

import typer

from resilient_client._cli.inputs import os_error_reason
from resilient_client._cli.output import err
from resilient_client._core.errors import ConfigurationError, InvalidRequestError

OK = 0
"""The command did what it was asked, and found nothing wrong."""
FAILED = 1
"""The call failed, or something critical is down."""
USAGE = 2
"""The input is wrong; nothing was sent."""
INTERNAL = 70
"""A bug in this program (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""
BROKEN_PIPE = 141
"""The reader of the output has exited: 128 + SIGPIPE."""


def exit_code_of(command: Callable[[], object]) -> int:
    """Run ``command`` and return the exit code for its result or its exception.

    Raises:
        SystemExit: SIGTERM was received.
    """
    try:
        return _exit_code_of(command)
    except BrokenPipeError:
        _discard_unwritable()
        return BROKEN_PIPE
    except OSError as error:  # such as a full disk behind stdout
        return _output_failed(error)
    except Exception:
        traceback.print_exc()
        return INTERNAL


def _exit_code_of(command: Callable[[], object]) -> int:
    try:
        result = command()
        sys.stdout.flush()
        # A trace is printed by a listener of the client, whose exceptions are logged and dropped. What it could not
        # write is still in the buffer, and fails again here.
        sys.stderr.flush()
        return result if isinstance(result, int) else OK
    except typer.Exit as end:
        return end.exit_code
    except (ConfigurationError, InvalidRequestError) as error:
        return print_error(str(error))
    except typer.TyperException as error:
        return print_error(_typer_message(error))
    except KeyboardInterrupt:
        err().print("interrupted", style="yellow")
        return INTERRUPTED
    except SystemExit as end:
        # typer prints its help on rich's own console, which exits when the pipe is broken. SIGTERM ends here, too.
        if isinstance(end.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        raise


def print_error(sentence: str, code: int = USAGE) -> int:
    """Print an error to stderr and return ``code``."""
    console = err()
    console.print("error: ", style="bold red", end="")
    console.print(sentence, soft_wrap=True)
    return code


def _output_failed(error: OSError) -> int:
    _discard_unwritable()
    where = f"{str(error.filename)!r}: " if error.filename else ""
    try:
        return print_error(f"{where}{os_error_reason(error)}", FAILED)
    except OSError:  # stderr cannot be written either
        _discard_unwritable()
        return FAILED


def _discard_unwritable() -> None:
    """Write what can still be written, and redirect a stream that fails to the null device.

    The interpreter flushes both streams when it exits. If that fails the exit code is 120 instead of the program's own,
    and for stdout there is a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # A stream without a file descriptor, as in tests, has nothing to redirect.
            with contextlib.suppress(OSError), open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), stream.fileno())


def _typer_message(error: typer.TyperException) -> str:
    """Return typer's message in the form of this program: no final stop, and a pointer to the help."""
    message = error.format_message().replace("Value error, ", "").replace(". Did", "; did").rstrip(".")
    context = getattr(error, "ctx", None)
    message = f"{message[:1].lower()}{message[1:]}"
    return message if context is None else f"{message}; see '{context.command_path} --help'"
