"""The command line: ``resilient-client``, also ``python -m resilient_client``.

Stands above everything and is imported by nothing. Importing this package loads neither typer nor rich: they come with
the extra ``cli``, and only ``main`` asks for them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from resilient_client._cli.signals import handle_sigterm
from resilient_client._core.errors import MissingExtraError

_REQUIRED = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; see ``cli.errors`` for their meaning.

    Args:
        arguments: What follows the name of the program; those of this process if left out.
    """
    _replace_closed()
    with handle_sigterm():
        try:
            _require_extra()
            from resilient_client._cli.app import run
        except MissingExtraError as missing:
            sys.stderr.write(f"{missing}\n")
            return 2
        except KeyboardInterrupt:  # loading takes long enough for a change of mind; from here on cli.errors sees to it
            sys.stderr.write("interrupted\n")
            return 130
        return run(sys.argv[1:] if arguments is None else arguments)


def _replace_closed() -> None:
    """Let what goes to a stream that was closed (``>&-``) go nowhere.

    Python has ``None`` for such a stream, and ``print`` takes that for stdout: complaints would stand among the data.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- for as long as we run


def _require_extra() -> None:
    absent = [name for name in _REQUIRED if not _importable(name)]
    if absent:
        raise MissingExtraError(
            f"the command line needs {' and '.join(absent)}; install with: pip install 'resilient-client[cli]'"
        )


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # barred: sys.modules holds None in its place
        return False
