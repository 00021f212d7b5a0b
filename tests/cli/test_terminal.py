"""The program at a terminal, whose screen the test reads."""

from __future__ import annotations

import signal

import pytest
from tests.cli.background import BackgroundServer
from tests.cli.terminal import Terminal

from resilient_client.testing.faults import hang_before_headers, hold, reply

SHOWS_CURSOR = b"\x1b[?25h"
HIDES_CURSOR = b"\x1b[?25l"


@pytest.mark.parametrize("columns", [80, 200])
def test_table_fills_in_while_targets_answer(upstream: BackgroundServer, columns: int) -> None:
    """Rows of targets that answered are complete while another target is still pending."""
    held = hold(reply(503))
    upstream.route("GET", "/late", held)
    with Terminal("probe", f"{upstream.url}/early", f"{upstream.url}/late", "--timeout", "9", columns=columns) as seen:
        seen.wait_for(lambda text: "1 of 2 answered" in text)
        heading, early, late, *_ = seen.lines
        assert heading.split()[:4] == ["target", "state", "status", "time"]
        assert early.split()[:4] == ["●", f"127.0.0.1:{upstream.port}/early", "up", "200"]
        assert late.split() == ["·", f"127.0.0.1:{upstream.port}/late", "…"]
        upstream.soon(held.release)
        assert seen.finish() == 1
    heading, early, late, reason, *_ = seen.lines
    assert late.split()[:4] == ["✗", f"127.0.0.1:{upstream.port}/late", "DOWN", "503"]
    assert reason == "  └ status 503, expected 200-399"
    assert ("first byte" in heading) == (columns == 200)
    assert seen.lines[-1].startswith("✗ DOWN  1 up, 1 down · ")
    assert sum("127.0.0.1" in line for line in seen.lines) == 2
    assert seen.raw.rfind(SHOWS_CURSOR) > seen.raw.rfind(HIDES_CURSOR)


def test_table_never_exceeds_the_terminal(upstream: BackgroundServer) -> None:
    """With more targets than lines, the unhealthy ones stay visible. The final table shows all."""
    held = hold()
    upstream.route("GET", "/held", held)
    upstream.route("GET", "/down", reply(503))
    urls = [f"{upstream.url}/{number}" for number in range(30)]
    with Terminal("probe", *urls, f"{upstream.url}/down", f"{upstream.url}/held", "--timeout", "9", rows=12) as seen:
        text = seen.wait_for(lambda text: "31 of 32 answered" in text)
        assert "/down" in text
        assert "/held" in text
        assert "more" in text
        assert len(seen.lines) <= 12
        upstream.soon(held.release)
        assert seen.finish() == 1
    assert seen.lines[-1].startswith("✗ DOWN  31 up, 1 down")


def test_watch_continues_until_interrupted(upstream: BackgroundServer) -> None:
    """The table is updated, and ends with Ctrl-C: the cursor is restored and the hint is gone."""
    with Terminal("probe", upstream.url, "--watch", "0.1") as seen:
        seen.wait_for(lambda text: "every 0.1 s, Ctrl-C ends" in text and upstream.hits >= 3)
        seen.wait_for(lambda text: sum(text.count(spark) for spark in "▁▂▃▄▅▆▇") >= 3)
        seen.process.send_signal(signal.SIGINT)
        assert seen.finish() == 130
    assert seen.lines[-1] == "interrupted"
    assert "Ctrl-C" not in seen.text
    assert seen.raw.rfind(SHOWS_CURSOR) > seen.raw.rfind(HIDES_CURSOR)


def test_terminated_watch_restores_the_cursor(upstream: BackgroundServer) -> None:
    """As with ``timeout 10 resilient-client probe --watch 1``."""
    with Terminal("probe", upstream.url, "--watch", "0.1") as seen:
        seen.wait_for(lambda text: "Ctrl-C ends" in text)
        seen.process.terminate()
        assert seen.finish() == 143
    assert "Traceback" not in seen.text
    assert seen.raw.rfind(SHOWS_CURSOR) > seen.raw.rfind(HIDES_CURSOR)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colours_gets_none(upstream: BackgroundServer, environment: dict[str, str]) -> None:
    """``NO_COLOR`` and a dumb terminal get no colour, and no bar that needs colours."""
    with Terminal("probe", upstream.url, **environment) as seen:
        assert seen.finish() == 0
    assert not any(f"\x1b[{colour}m".encode() in seen.raw for colour in (31, 32, 33, 34, 35, 36))
    assert "━" not in seen.text
    assert "up" in seen.text
    if environment.get("TERM") == "dumb":
        assert b"\x1b" not in seen.raw


def test_call_at_a_terminal_is_readable(upstream: BackgroundServer) -> None:
    """The trace with its stages, then status, headers, and the body indented and coloured."""
    upstream.script(reply(503), reply(json={"id": 7}, headers={"X-One": "1"}))
    with Terminal("get", upstream.url, "--trace", "--include") as seen:
        assert seen.finish() == 0
    lines = seen.lines
    assert lines[0] == f"attempt 1 to {upstream.url}"
    assert lines[1].startswith("  connect ")
    assert " · first byte " in lines[1]
    assert set(lines[2].strip()) == {"━"}
    assert lines[3].startswith("  ✗ 503 Service Unavailable · ")
    assert (
        lines[-7:]
        == ["200 OK", "X-One: 1", "Content-Type: application/json", "Content-Length: 9", "", "{", '  "id": 7', "}"][-7:]
    )
    assert b"\x1b[" in seen.raw


def test_binary_body_is_not_printed(upstream: BackgroundServer) -> None:
    """A terminal gets size and type instead."""
    upstream.script(reply(body=bytes(range(256)), headers={"Content-Type": "image/png"}))
    with Terminal("get", upstream.url) as seen:
        assert seen.finish() == 0
    assert seen.text == "256 bytes of image/png, not for a terminal: save them with --output FILE"


def test_interrupted_call_prints_one_word(upstream: BackgroundServer) -> None:
    """Ctrl-C while an upstream hangs."""
    upstream.script(hang_before_headers())
    with Terminal("get", upstream.url, "--trace") as seen:
        seen.wait_for(lambda text: "attempt 1" in text)
        seen.process.send_signal(signal.SIGINT)
        assert seen.finish() == 130
    assert seen.lines[-1] == "interrupted"


@pytest.mark.parametrize("columns", [80, 200])
def test_explanation_fits_the_terminal(columns: int) -> None:
    """``--explain`` shows chain and settings, and no line wraps."""
    with Terminal(
        "get", "https://api.example.com/users", "--timeout", "3", "--explain", columns=columns, rows=120
    ) as seen:
        assert seen.finish() == 0
    assert seen.lines[0] == "GET https://api.example.com/users"
    assert "per attempt  │ circuit breaker" not in seen.lines[3]
    assert any(line.split() == ["timeout.total", "3.0", "call"] for line in seen.lines)
