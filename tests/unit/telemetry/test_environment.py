"""``RESILIENT_CLIENT_LOG`` turns the log on for scripts, and only for programs that configure no logging."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resilient_client import APIClient, ConfigurationError
from resilient_client.telemetry import _environment

PROGRAM = """
import asyncio, logging, sys
from resilient_client import APIClient
from resilient_client.testing import MockUpstream, reply
async def main():
    upstream = MockUpstream()
    upstream.script(reply(503), reply(200))
    async with APIClient("https://api.example.com", transport=upstream) as api:
        await api.get("/users")
logging.basicConfig(format="root %(message)s") if "configured" in sys.argv else None
asyncio.run(main())
"""


def lines(level: str, *arguments: str) -> list[str]:
    """Run the program, and return what it prints to stderr."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"RESILIENT_CLIENT_LOG": level},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_info_prints_the_retry() -> None:
    """A script sees why its call takes long, without a line of code."""
    (line,) = [line for line in lines("info") if "attempt" in line]
    assert "INFO    GET https://api.example.com/users: attempt 1 failed (status 503)" in line


def test_configured_program_prints_each_line_once() -> None:
    """With handlers of its own, the program gets the records there, and not a second time."""
    printed = lines("DEBUG", "configured")
    assert len(printed) > 4
    assert all(line.startswith("root ") for line in printed)
    assert len(set(printed)) == len(printed)


@pytest.mark.parametrize("value", ["foo", "2", "information"])
def test_wrong_value_is_refused_by_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is refused when it is built, so nothing is sent. The sentence names the value and the remedy."""
    monkeypatch.setattr(_environment, "_was_read", False)
    monkeypatch.setenv("RESILIENT_CLIENT_LOG", value)
    for _ in range(2):
        with pytest.raises(ConfigurationError) as caught:
            APIClient("https://api.example.com")
        assert str(caught.value) == (
            f"the environment variable RESILIENT_CLIENT_LOG is '{value}'; set it to 'info' or 'debug', or leave it out"
        )


@pytest.mark.parametrize("value", [None, ""])
def test_unset_variable_attaches_nothing(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is an unset one."""
    attached: list[int] = []
    monkeypatch.setattr(_environment, "_was_read", False)
    monkeypatch.setattr(_environment, "_attach", attached.append)
    if value is None:
        monkeypatch.delenv("RESILIENT_CLIENT_LOG", raising=False)
    else:
        monkeypatch.setenv("RESILIENT_CLIENT_LOG", value)
    APIClient("https://api.example.com")
    assert attached == []
