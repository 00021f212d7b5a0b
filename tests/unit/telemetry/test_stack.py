"""Which frame of a stack is blamed, and that a stack is read without its outer frames."""

from __future__ import annotations

import json
import sys
import threading

from resilient_client.telemetry import _loop_monitor
from resilient_client.telemetry._stack import MAX_FRAMES, CodePlace, depth_of, place_to_blame, stack_of

USER = CodePlace("/srv/app/reports.py", 42, "load_report")
PACKAGE = CodePlace("/venv/lib/python3.12/site-packages/yaml/loader.py", 7, "load")
OURS = CodePlace(_loop_monitor.__file__, 7, "snapshot")
STANDARD = CodePlace(json.__file__, 293, "load")


def test_innermost_code_of_the_user_is_blamed() -> None:
    """The user's function is blamed, not what it called in a package or in the standard library."""
    outer = USER._replace(function="handle")
    assert place_to_blame([outer, USER, PACKAGE, OURS, STANDARD]) == USER
    assert place_to_blame([OURS, STANDARD, PACKAGE, STANDARD]) == PACKAGE
    assert place_to_blame([STANDARD, STANDARD._replace(function="decode")]).function == "decode"


def test_place_reads_as_function_and_line() -> None:
    """The text of a place can be clicked on in a terminal."""
    assert str(USER) == "load_report (/srv/app/reports.py:42)"


def test_stack_leaves_out_the_outer_frames() -> None:
    """The frames of the loop are below the callbacks and do not belong to them."""
    frame = sys._getframe()
    outer, caller = depth_of(frame), frame.f_code

    def inner() -> tuple[CodePlace, ...]:
        return stack_of(threading.get_ident(), outer, caller)

    stack = inner()
    assert [place.function.rpartition(".")[2] for place in stack] == ["inner", "stack_of"]
    assert stack[0].file == __file__
    assert stack_of(threading.get_ident(), outer + 10, caller) == ()


def test_loop_that_waits_has_no_callback() -> None:
    """Where a loop waits, other code is at the level that calls the callbacks, however deep that goes."""
    frame = sys._getframe()
    assert stack_of(threading.get_ident(), depth_of(frame), depth_of.__code__) == ()


def test_deep_stack_keeps_its_innermost_frames() -> None:
    """A recursion does not fill the log."""

    def deep(levels: int) -> tuple[CodePlace, ...]:
        return deep(levels - 1) if levels else stack_of(threading.get_ident())

    stack = deep(100)
    assert len(stack) == MAX_FRAMES
    assert stack[-1].function == "stack_of"


def test_thread_that_has_ended_has_no_stack() -> None:
    """An identifier of no running thread gives nothing."""
    assert stack_of(0) == ()
