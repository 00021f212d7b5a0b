"""The last picture as a file, for pages that show it. Needs nothing from the network, nor does its reader."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI

from resilient_client._cli.demo.picture import picture
from resilient_client._cli.demo.snapshot import Snapshot

_SIZE: Final = (110, 32)
_FOREIGN_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # rich's would be loaded from somebody's server


def write_svg(now: Snapshot, path: Path) -> None:
    """Draw ``now`` into ``path``.

    Raises:
        OSError: It cannot be written.
    """
    console = Console(record=True, width=_SIZE[0], file=StringIO(), force_terminal=True, color_system="standard")
    console.print(picture(now, *_SIZE))
    svg = console.export_svg(title="resilient-client demo", unique_id="demo", theme=MONOKAI)
    path.write_text(_FOREIGN_FONT.sub("", svg), encoding="utf-8")
