"""Converting the input of the command line, and the errors that come before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.background import BackgroundServer
from tests.unit.cli.support import ran

from resilient_client._cli import inputs
from resilient_client._core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", "the URL is empty"),
        ("api.example.com/users", "has no scheme; write 'https://api.example.com/users'"),
        ("localhost:8080", "or 'http://localhost:8080'"),
        ("ftp://example.com/x", "has the scheme 'ftp'"),
        ("file:///etc/passwd", "the URL has the scheme 'file'; only http and https are supported"),
        ("https:///users", "has no host"),
        ("http://[::1", "cannot be read"),
        ("http://example.com/a b", "quote it, as %20 for a space"),
        ("http://example.com/a\\b", "quote it"),
        ("http://example.com/\udcff", "not UTF-8; quote it"),
        ("https://ada:secret@example.com/", "--user NAME:PASSWORD"),
    ],
)
def test_invalid_url_is_refused_with_a_remedy(text: str, printed: str) -> None:
    """Anything but an absolute http(s) URL is refused, and the message says what to write."""
    with pytest.raises(ConfigurationError, match=r"the URL") as refused:
        inputs.checked_url(text)
    assert printed in str(refused.value)
    assert "secret" not in str(refused.value)


def test_url_without_scheme_hides_query_values() -> None:
    """The suggestion repeats the URL, but not the values of its query."""
    with pytest.raises(ConfigurationError) as refused:
        inputs.checked_url("example.com/x?token=secret")
    assert "secret" not in str(refused.value)


def test_braces_in_a_url_are_sent_literally(upstream: BackgroundServer) -> None:
    """On the command line braces are not placeholders."""
    assert ran("get", f"{upstream.url}/a/{{b}}").code == 0
    assert upstream.requests[0].path == "/a/%7Bb%7D"


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--header", "X-Token secret"], "--header number 1 has no colon"),
        (["--header", "bad name: secret"], "is not an HTTP token"),
        (["--header", "Host: secret"], "frames the message"),
        (["--param", "secret"], "--param number 1 has no equals sign"),
        (["--param", "a=1", "--param", "=secret"], "--param number 2 has no name; write NAME=VALUE"),
        (["--user", "secret"], "--user has no colon"),
        (["--json", '{"secret'], "--json is not JSON: Unterminated string starting at line 1, column 2"),
        (["--json", "{", "--data", "x"], "--json and --data exclude each other"),
        (["--data", "@no-such-file"], "'no-such-file' cannot be read: no such file or directory"),
        (["--json", "[NaN]"], "--json is not JSON: NaN is not a JSON value"),
        (["--json", "[" * 100_000], "--json is nested too deep"),
        (["--timeout", "0"], "--timeout is '0'; give seconds above 0"),
        (["--attempt-timeout", "soon"], "--attempt-timeout is 'soon'; give seconds above 0, such as 2 or '500ms'"),
        (["--timeout", "1", "--attempt-timeout", "2"], "attempt=2 exceeds total=1"),
        (["--max-attempts", "0"], "Retry.max_attempts is 0"),
        (["--max-attempts", "many"], "should be a valid integer"),
        (["--max-attempts", "2", "--no-retry"], "--max-attempts and --no-retry exclude each other"),
        (["--redirects", "all"], "'all' is not one of"),
        (["--output", "/no/such/directory/x"], "there is no directory '/no/such/directory'"),
        (["--output", "/"], "'/' is a directory"),
        (["--nonsense"], "no such option: --nonsense"),
    ],
)
def test_wrong_option_is_reported_before_sending(
    upstream: BackgroundServer, arguments: list[str], printed: str
) -> None:
    """Wrong input is exit code 2, one line on stderr, nothing on stdout, nothing on the wire, no secret shown."""
    end = ran("get", upstream.url, *arguments)
    assert (end.code, end.out, upstream.hits) == (2, "", 0)
    assert end.err.startswith("error: ")
    assert end.err.count("\n") == 1
    assert printed in end.err
    assert "secret" not in end.err


def test_json_is_sent_as_typed(upstream: BackgroundServer) -> None:
    """The JSON is not converted: digits and trailing zeros are kept."""
    text = f'{{"n": {"1" * 5000}, "price": 1.10}}'
    assert ran("post", upstream.url, "--json", text).code == 0
    assert upstream.requests[0].body == text.encode()


def test_file_as_body_is_sent_unchanged(upstream: BackgroundServer, tmp_path: Path) -> None:
    """``--data @FILE`` sends the bytes of the file."""
    (tmp_path / "body").write_bytes(bytes(range(256)))
    assert ran("post", upstream.url, "--data", f"@{tmp_path / 'body'}").code == 0
    assert upstream.requests[0].body == bytes(range(256))


@pytest.mark.parametrize(("value", "expected"), [(2, 2.0), ("500ms", 0.5), ("1.5m", 90.0)])
def test_duration_is_parsed_like_a_setting(value: object, expected: float) -> None:
    """Numbers are seconds, and text may have a unit."""
    assert inputs.seconds("--watch", value) == expected


@pytest.mark.parametrize("value", [0, -1, "soon", True, None, float("nan")])
def test_invalid_duration_is_refused(value: object) -> None:
    """Zero, negative numbers and anything that is not a duration are refused."""
    with pytest.raises(ConfigurationError, match=r"--watch is .*; give seconds above 0"):
        inputs.seconds("--watch", value)
