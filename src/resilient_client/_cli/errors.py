"""How a command ends: its exit code, and one sentence on stderr where there is something to say.

Commands raise: ``ConfigurationError`` and ``InvalidRequestError`` for input that is wrong (2, nothing was sent),
``typer.Exit`` for any other end. What they raise is turned into an ending here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

import typer

from resilient_client._cli.inputs import reason
from resilient_client._cli.output import err
from resilient_client._core.errors import ConfigurationError, InvalidRequestError

OK = 0
"""Everything asked for was done and found well."""
FAILED = 1
"""The call failed, or something critical is down."""
USAGE = 2
"""The input is wrong; nothing was sent."""
INTERNAL = 70
"""A bug of ours (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""
BROKEN_PIPE = 141
"""Nobody reads our output any more: 128 + SIGPIPE."""


def ending(command: Callable[[], object]) -> int:
    """Run ``command`` and give the exit code for whatever became of it. Raises only ``SystemExit``, on SIGTERM."""
    try:
        return _ending(command)
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except OSError as error:  # such as a full disk behind stdout
        _silence()
        where = f"{str(error.filename)!r}: " if error.filename else ""
        return complain(f"{where}{reason(error)}", FAILED)
    except Exception:
        traceback.print_exc()
        return INTERNAL


def _ending(command: Callable[[], object]) -> int:
    try:
        result = command()
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except typer.Exit as end:
        return end.exit_code
    except (ConfigurationError, InvalidRequestError) as wrong:
        return complain(str(wrong))
    except typer.TyperException as wrong:
        return complain(_sentence(wrong))
    except KeyboardInterrupt:
        err().print("interrupted", style="yellow")
        return INTERRUPTED
    except SystemExit as end:  # SIGTERM; or a console of rich itself, as typer's help uses it, at a broken pipe
        if isinstance(end.__context__, BrokenPipeError):
            return BROKEN_PIPE
        raise


def complain(sentence: str, code: int = USAGE) -> int:
    """Say what is wrong, on stderr, and give the exit code."""
    console = err()
    console.print("error: ", style="bold red", end="")
    console.print(sentence, soft_wrap=True)
    return code


def _silence() -> None:
    """Let what is still to be flushed go nowhere: the interpreter flushes stdout once more when it ends."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as null:  # no file behind it: nothing to silence
        os.dup2(null.fileno(), sys.stdout.fileno())


def _sentence(wrong: typer.TyperException) -> str:
    """What typer says, in our form: no final stop, and the way to the help."""
    message = wrong.format_message().replace("Value error, ", "").replace(". Did", "; did").rstrip(".")
    context = getattr(wrong, "ctx", None)
    message = f"{message[:1].lower()}{message[1:]}"
    return message if context is None else f"{message}; see '{context.command_path} --help'"
