"""The progress bar of a fan-out: on standard error, closed whatever happens, and only where somebody asks for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
import tqdm

from resilient_client import (
    APIError,
    Call,
    ErrorKind,
    Failure,
    InvalidRequestError,
    MissingExtraError,
    Outcome,
    Response,
    Success,
    gather,
)
from resilient_client.testing._virtual_time import run_virtual


class Lasting:
    """A runner that takes ``key`` seconds for a call, and fails those of an odd number of them."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        assert isinstance(call.key, int)
        await asyncio.sleep(call.key)
        return Success(1) if call.key % 2 == 0 else Failure(APIError("odd", kind=ErrorKind.SERVER_ERROR))


def lasting(*seconds: int) -> list[Call[Response]]:
    return [Call.get("/", key=second) for second in seconds]


def last_line(shown: str) -> str:
    return shown.rstrip("\n").rpartition("\r")[2]


def test_progress_shows_how_many_are_done_and_how_many_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with the total where there is one; nothing on standard output."""
    run_virtual(gather(lasting(1, 2, 3, 4), client=Lasting(), progress=True))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "4/4" in last_line(shown.err)
    assert "failed=2" in last_line(shown.err)
    assert shown.err.endswith("\n")  # closed


def test_progress_with_a_text_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It stands before the bar."""
    run_virtual(gather(lasting(2), client=Lasting(), progress="prices"))
    assert last_line(capsys.readouterr().err).startswith("prices: 100%")


def test_progress_of_an_iterable_without_length_counts_on(capsys: pytest.CaptureFixture[str]) -> None:
    """No total, no percentage."""
    run_virtual(gather(iter(lasting(2, 2)), client=Lasting(), progress=True))
    shown = last_line(capsys.readouterr().err)
    assert shown.startswith("2 calls")
    assert "%" not in shown


def test_progress_does_not_count_dropped_calls_as_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """They are done, and did not fail."""
    run_virtual(gather(lasting(2, 8, 8), client=Lasting(), successes=1, progress=True))
    shown = last_line(capsys.readouterr().err)
    assert "3/3" in shown
    assert "failed" not in shown


def test_progress_is_closed_when_the_fan_out_breaks_or_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    """No bar stays on the screen, and no thread of it behind."""

    async def cancelled() -> None:
        gathering = asyncio.create_task(gather(lasting(8), client=Lasting(), progress=True))
        await asyncio.sleep(1)
        gathering.cancel()
        await asyncio.wait([gathering])

    threads = threading.active_count()
    run_virtual(cancelled())
    with pytest.raises(InvalidRequestError):
        run_virtual(gather(iter([lasting(2)[0], 7]), client=Lasting(), progress=True))  # type: ignore[list-item]  # the point
    assert capsys.readouterr().err.count("\n") == 2
    assert not tqdm.tqdm._instances
    assert threading.active_count() == threads


def test_progress_that_cannot_be_shown_harms_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that fails is an observer that fails."""
    monkeypatch.setattr(tqdm.std.tqdm, "update", lambda *_: 1 / 0)
    assert len(run_virtual(gather(lasting(2, 4), client=Lasting(), progress=True)).values) == 2


def test_progress_without_tqdm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any call is made."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'resilient-client\[progress\]'"):
        run_virtual(gather(lasting(2), client=Lasting(), progress=True))


@pytest.mark.parametrize("progress", [None, 1, 0.5])
def test_progress_that_is_neither_yes_nor_no_nor_a_text_is_refused(progress: Any) -> None:
    """Saying what to give."""
    with pytest.raises(InvalidRequestError, match=f"progress is {progress!r}; give True, False, or"):
        run_virtual(gather(lasting(2), client=Lasting(), progress=progress))


def test_progress_unasked_loads_no_tqdm() -> None:
    """A fan-out without a bar does not need it, nor pay for it."""
    code = "import asyncio, sys, resilient_client as r; asyncio.run(r.gather([])); print('tqdm' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    assert shown.stdout == "False\n"
