"""One call from the command line: what is sent, what is written where, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.background import BackgroundServer
from tests.unit.cli.support import ran

from resilient_client._cli.verbs import METHODS
from resilient_client.testing.faults import drop, echo, hang_before_headers, redirect, reply


@pytest.mark.parametrize("name", METHODS)
def test_verb_sends_its_method(upstream: BackgroundServer, name: str) -> None:
    """Each command sends one request with the method of its name."""
    assert ran(name, upstream.url).code == 0
    assert [request.method for request in upstream.requests] == [name.upper()]


def test_all_inputs_reach_the_server(upstream: BackgroundServer) -> None:
    """Headers, parameters, credentials, key and JSON body are sent."""
    upstream.script(echo())
    end = ran(
        *("post", f"{upstream.url}/pay?a=1", "-H", "X-One: 1", "-p", "b=2", "-p", "c=x=y", "--user", "ada:pw"),
        *("--idempotency-key", "k1", "--json", '{"amount": 5}'),
    )
    printed = json.loads(end.out)
    assert printed["query"] == {"a": "1", "b": "2", "c": "x=y"}
    assert printed["body"] == '{"amount": 5}'
    expected = {
        "x-one": "1",
        "authorization": "Basic YWRhOnB3",
        "idempotency-key": "k1",
        "content-type": "application/json",
    }
    assert printed["headers"].items() >= expected.items()


def test_content_type_header_overrides_that_of_json(upstream: BackgroundServer) -> None:
    """``--json`` sets a media type only if no header does."""
    ran("patch", upstream.url, "--json", "[]", "-H", "Content-Type: application/json-patch+json")
    assert upstream.requests[0].headers.getall("Content-Type") == ["application/json-patch+json"]


def test_piped_body_is_byte_for_byte(upstream: BackgroundServer) -> None:
    """Nothing is added to a body or removed from it, not even a line break."""
    upstream.script(reply(body=b'{"b":1,  "a":2}', headers={"Content-Type": "application/json"}))
    assert ran("get", upstream.url) == (0, '{"b":1,  "a":2}', "")


def test_include_shows_status_and_headers_first(upstream: BackgroundServer) -> None:
    """``--include`` writes them to stdout before the body."""
    upstream.script(reply(201, body=b"x", headers={"X-One": "1"}))
    assert ran("get", upstream.url, "-i").out == "201 Created\nX-One: 1\nContent-Length: 1\n\nx"


def test_head_includes_headers_by_default(upstream: BackgroundServer) -> None:
    """The reply to a HEAD has nothing else to show."""
    upstream.script(reply(200, headers={"X-One": "1"}))
    assert "X-One: 1\n" in ran("head", upstream.url).out


@pytest.mark.parametrize("status", [404, 503])
def test_error_status_prints_body_and_reason(upstream: BackgroundServer, status: int) -> None:
    """The body of a 4xx or 5xx goes to stdout, the reason to stderr, and the exit code is 1."""
    upstream.script(reply(status, body=b"why"))
    end = ran("get", upstream.url, "--no-retry")
    assert (end.code, end.out) == (1, "why")
    assert f"the server answered {status}" in end.err


def test_call_without_reply_is_exit_code_one(upstream: BackgroundServer) -> None:
    """A lost connection is a failure with a reason, and stdout stays empty."""
    upstream.script(drop())
    end = ran("post", upstream.url)
    assert (end.code, end.out, upstream.hits) == (1, "", 1)
    assert "the server closed the connection" in end.err
    assert "give --idempotency-key auto if a repeat is harmless" in end.err


def test_flaky_upstream_is_retried(upstream: BackgroundServer) -> None:
    """The call goes through the whole chain: the third attempt succeeds after two failures."""
    upstream.script(reply(503), reply(503), reply(body=b"ok"))
    assert ran("get", upstream.url)[:2] == (0, "ok")
    assert upstream.hits == 3


@pytest.mark.parametrize(("arguments", "hits"), [(["--no-retry"], 1), (["--max-attempts", "2"], 2)])
def test_attempts_are_bounded_by_the_options(upstream: BackgroundServer, arguments: list[str], hits: int) -> None:
    """``--no-retry`` sends one request, ``--max-attempts N`` at most N."""
    upstream.script(reply(503))
    assert ran("get", upstream.url, *arguments).code == 1
    assert upstream.hits == hits


def test_timeout_ends_the_call(upstream: BackgroundServer) -> None:
    """``--timeout`` bounds the whole call."""
    upstream.script(hang_before_headers())
    end = ran("get", upstream.url, "--timeout", "100ms")
    assert end.code == 1
    assert "the call was not done after 0.1 s" in end.err


def test_cross_origin_redirect_names_the_option(upstream: BackgroundServer) -> None:
    """The error names the option that would allow the redirect."""
    upstream.script(redirect("http://localhost:1/"))
    end = ran("get", upstream.url)
    assert end.code == 1
    assert "give --redirects any" in end.err


def test_redirects_none_prints_the_redirect(upstream: BackgroundServer) -> None:
    """``--redirects none`` shows the 302."""
    upstream.script(redirect("/elsewhere"))
    assert ran("get", upstream.url, "-i", "--redirects", "none").out.startswith("302 Found\n")


def test_output_writes_the_body_to_a_file(upstream: BackgroundServer, tmp_path: Path) -> None:
    """With ``--output`` stdout stays empty."""
    upstream.script(reply(body=b"\x00\x01"))
    assert ran("get", upstream.url, "-o", str(tmp_path / "body")) == (0, "", "")
    assert (tmp_path / "body").read_bytes() == b"\x00\x01"


def test_output_file_is_kept_if_the_call_fails(upstream: BackgroundServer, tmp_path: Path) -> None:
    """An error body never replaces the content of the file. It goes to stdout."""
    (tmp_path / "body").write_bytes(b"precious")
    upstream.script(reply(404, body=b"why"))
    assert ran("get", upstream.url, "-o", str(tmp_path / "body"))[:2] == (1, "why")
    assert (tmp_path / "body").read_bytes() == b"precious"


def test_explain_shows_settings_and_sends_nothing(upstream: BackgroundServer) -> None:
    """``--explain`` shows each value and its layer, without secrets."""
    end = ran("get", f"{upstream.url}/x?k=secret", "--timeout", "3", "--user", "ada:secret", "--explain")
    lines = [line.split() for line in end.out.splitlines()]
    assert end.code == 0
    assert ["timeout.total", "call", "3.0"] in lines
    assert ["retry.max_attempts", "default", "3"] in lines
    assert ["per", "attempt", "auth"] in lines
    assert upstream.hits == 0
    assert "secret" not in end.out


def test_trace_goes_to_stderr_without_secrets(upstream: BackgroundServer) -> None:
    """Stdout holds nothing but the body."""
    upstream.script(reply(503), reply(body=b"ok"))
    end = ran("get", f"{upstream.url}/?k=secret", "-H", "X-Token: secret", "--user", "ada:secret", "--trace")
    assert end.out == "ok"
    assert f"attempt 1 to {upstream.url}\n" in end.err
    assert "✗ 503 Service Unavailable · " in end.err
    assert "↻ attempt 2 in " in end.err
    assert "✓ 200 OK · " in end.err
    assert "2 attempts in " in end.err
    assert "secret" not in end.err
