"""The id of a call is unique, also among the processes that a server forks from one that has made clients."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resilient_client._core.call_id import new_call_id

PROGRAM = """
import os
from resilient_client._core.call_id import new_call_id
new_call_id()
child = os.fork()
if child:
    os.waitpid(child, 0)  # the two lines come one after the other
print(new_call_id(), flush=True)
"""


def test_ids_of_one_process_differ() -> None:
    """Each call has its own, short enough for a line of a log."""
    ids = {new_call_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(call_id) < 25 for call_id in ids)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_ids_of_a_forked_process_differ() -> None:
    """A worker that inherits the counter does not inherit the prefix."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)  # noqa: S603
    child, parent = done.stdout.split()
    assert parent.partition("-")[0] != child.partition("-")[0]
