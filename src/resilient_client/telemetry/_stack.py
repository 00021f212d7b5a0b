"""Where a thread is in its code: the frames of the running callback as file, line and function.

A stack is read into names and numbers at once. A frame that is kept would keep the local variables of its function
alive, and with them connections and secrets.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, NamedTuple

MAX_FRAMES: Final = 20
"""Frames of a stack that are kept, the innermost ones."""

_STANDARD_LIBRARY: Final = (os.path.dirname(os.__file__) + os.sep, "<frozen ")
_THIS_LIBRARY: Final = str(Path(__file__).parents[1]) + os.sep
_INSTALLED: Final = re.compile(r"[/\\](?:site|dist)-packages[/\\]")


class CodePlace(NamedTuple):
    """A line of code.

    Attributes:
        file: The path of the file, as Python compiled it.
        line: The line, counted from 1.
        function: The qualified name of the function.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


def depth_of(frame: FrameType | None) -> int:
    """The number of frames in a stack that ends with ``frame``."""
    depth = 0
    while frame is not None:
        depth += 1
        frame = frame.f_back
    return depth


def stack_of(thread: int, outer: int = 0, caller: CodeType | None = None) -> tuple[CodePlace, ...]:
    """The stack of a running callback, innermost frame last.

    Args:
        thread: The thread of the event loop.
        outer: The number of outermost frames that belong to the loop and its caller.
        caller: The code of the last one of these, which calls the callbacks. ``None`` if ``outer`` is 0. A loop that
            waits is in other code there.

    Returns:
        At most ``MAX_FRAMES`` places. Empty if no callback is running, or the thread has ended.
    """
    frame = sys._current_frames().get(thread)
    places: list[CodePlace] = []
    for _ in range(depth_of(frame) - outer):
        if frame is None:
            break
        if len(places) < MAX_FRAMES:
            places.append(CodePlace(frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname))
        frame = frame.f_back
    if (None if frame is None else frame.f_code) is not caller:
        return ()
    return tuple(reversed(places))


def place_to_blame(stack: Sequence[CodePlace]) -> CodePlace:
    """The innermost place of the user's own code, else that of an installed package, else the innermost of all.

    ``stack`` must not be empty.
    """
    return min(reversed(stack), key=_distance)


def _distance(place: CodePlace) -> int:
    """How far code is from the user's: 0 for their own, 1 for an installed package, 2 for the standard library."""
    if _INSTALLED.search(place.file) or place.file.startswith(_THIS_LIBRARY):
        return 1
    return 2 if place.file.startswith(_STANDARD_LIBRARY) else 0
