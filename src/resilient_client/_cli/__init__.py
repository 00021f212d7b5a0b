"""The command line: ``resilient-client``, also ``python -m resilient_client``.

Nothing in the library imports this package. Importing it loads neither typer nor rich: they come with the extra
``cli``, and only ``main`` imports them.
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
    """Run one command and return its exit code. ``errors`` lists the codes.

    Args:
        arguments: The arguments after the program's name; those of this process if ``None``.
    """
    _replace_closed()
    with handle_sigterm():
        try:
            _require_extra()
            from resilient_client._cli.app import run
        except MissingExtraError as missing:
            sys.stderr.write(f"{missing}\n")
            return 2
        except KeyboardInterrupt:  # loading takes about a second. Afterwards errors.exit_code_of handles Ctrl-C
            sys.stderr.write("interrupted\n")
            return 130
        return run(sys.argv[1:] if arguments is None else arguments)


def _replace_closed() -> None:
    """Send the output of a closed stream (``>&-``) to the null device.

    Python sets such a stream to ``None``, and rich writes to stdout when its file is ``None``: with a closed stderr,
    messages would be mixed into the data.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- open until the process ends


def _require_extra() -> None:
    absent = [name for name in _REQUIRED if not _importable(name)]
    if absent:
        raise MissingExtraError(
            f"the command line needs {' and '.join(absent)}; install with: pip install 'resilient-client[cli]'"
        )


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # sys.modules holds None for it, which forbids the import
        return False
