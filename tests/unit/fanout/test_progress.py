"""The progress bar of a fan-out: on standard error, always closed, and off by default."""

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
    """A runner whose calls take ``key`` seconds, and fail for an odd number of seconds."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        assert isinstance(call.key, int)
        await asyncio.sleep(call.key)
        return Success(1) if call.key % 2 == 0 else Failure(APIError("odd", kind=ErrorKind.SERVER_ERROR))


def lasting(*seconds: int) -> list[Call[Response]]:
    return [Call.get("/", key=second) for second in seconds]


def last_line(output: str) -> str:
    return output.rstrip("\n").rpartition("\r")[2]


def test_progress_shows_done_and_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with the total if it is known. Nothing on standard output."""
    run_virtual(gather(lasting(1, 2, 3, 4), client=Lasting(), progress=True))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "4/4" in last_line(captured.err)
    assert "failed=2" in last_line(captured.err)
    assert captured.err.endswith("\n")  # closed


def test_progress_text_is_title(capsys: pytest.CaptureFixture[str]) -> None:
    """The text is shown before the bar."""
    run_virtual(gather(lasting(2), client=Lasting(), progress="prices"))
    assert last_line(capsys.readouterr().err).startswith("prices: 100%")


def test_progress_without_length_shows_no_total(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a length there is neither total nor percentage."""
    run_virtual(gather(iter(lasting(2, 2)), client=Lasting(), progress=True))
    line = last_line(capsys.readouterr().err)
    assert line.startswith("2 calls")
    assert "%" not in line


def test_progress_dropped_calls_are_not_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """A dropped call counts as done, and not as failed."""
    run_virtual(gather(lasting(2, 8, 8), client=Lasting(), successes=1, progress=True))
    line = last_line(capsys.readouterr().err)
    assert "3/3" in line
    assert "failed" not in line


def test_progress_is_closed_after_error_and_cancellation(capsys: pytest.CaptureFixture[str]) -> None:
    """No open bar and no thread of tqdm is left."""

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


def test_progress_failing_affects_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that raises is treated like any observer that raises."""
    monkeypatch.setattr(tqdm.std.tqdm, "update", lambda *_: 1 / 0)
    assert len(run_virtual(gather(lasting(2, 4), client=Lasting(), progress=True)).values) == 2


def test_progress_without_tqdm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes before any call is started."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'resilient-client\[progress\]'"):
        run_virtual(gather(lasting(2), client=Lasting(), progress=True))


@pytest.mark.parametrize("progress", [None, 1, 0.5])
def test_progress_of_wrong_type_is_refused(progress: Any) -> None:
    """The message says what to give."""
    with pytest.raises(InvalidRequestError, match=f"progress is {progress!r}; give True, False, or"):
        run_virtual(gather(lasting(2), client=Lasting(), progress=progress))


def test_progress_off_does_not_import_tqdm() -> None:
    """A fan-out without a bar does not import it."""
    code = "import asyncio, sys, resilient_client as r; asyncio.run(r.gather([])); print('tqdm' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    assert process.stdout == "False\n"
