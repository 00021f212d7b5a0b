"""The command line: ``resilient-client``, also ``python -m resilient_client.cli``.

Stands above everything and is imported by nothing. Importing this package loads neither typer nor rich: they come with
the extra ``cli``, and only ``main`` asks for them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from resilient_client.core.errors import MissingExtraError

_NEEDED = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; see ``cli.errors`` for their meaning.

    Args:
        arguments: What follows the name of the program; those of this process if left out.
    """
    try:
        _require_extra()
    except MissingExtraError as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    from resilient_client.cli.app import run

    return run(sys.argv[1:] if arguments is None else arguments)


def _require_extra() -> None:
    absent = [name for name in _NEEDED if not _importable(name)]
    if absent:
        raise MissingExtraError(
            f"the command line needs {' and '.join(absent)}; install with: pip install 'resilient-client[cli]'"
        )


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # barred: sys.modules holds None in its place
        return False
