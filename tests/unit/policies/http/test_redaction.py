"""What is shown of headers and URLs, and that no secret is."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from resilient_client._policies.http.redaction import (
    LONGEST,
    REDACTED,
    UNREADABLE_URL,
    redact_headers,
    redact_text,
    redact_url,
    without_query,
)

CANARY = "canary7secret"


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "RETRY-AFTER", "X-Request-Id"])
def test_headers_known_as_harmless_show_their_value(name: str) -> None:
    """A header on the list is shown, whatever the case of its name."""
    assert redact_headers({name: "value"}) == {name: "value"}


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Proxy-Authorization",
        "X-Api-Key",
        "Location",
        "Idempotency-Key",
    ],
)
def test_headers_that_hold_secrets_show_only_their_name(name: str) -> None:
    """Credentials, and URLs that may hold some, stay hidden."""
    assert redact_headers({name: CANARY}) == {name: REDACTED}


@given(st.text(min_size=1).map("X-".__add__))
@settings(derandomize=True, deadline=None)
def test_headers_nobody_thought_of_stay_hidden(name: str) -> None:
    """What is not on the list is a secret."""
    assert CANARY not in str(redact_headers({name: CANARY}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example.com/users/7", "https://api.example.com/users/7"),
        ("https://user:pw@api.example.com:8443/a", "https://api.example.com:8443/a"),
        ("https://token@api.example.com/", "https://api.example.com/"),
        ("https://h/a?page=2&key=abc&page=3", "https://h/a?page=***&key=***&page=***"),
        ("https://h/a?abc", "https://h/a?***"),
        ("https://h/a?x=1;y=2", "https://h/a?x=***"),
        ("https://h/a#access_token=abc", "https://h/a"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ("//user:pw@h/a", "//h/a"),
        ("/a?key=abc", "/a?key=***"),
        ("", ""),
    ],
)
def test_url_shows_where_and_which_keys_but_no_values(url: str, shown: str) -> None:
    """Scheme, host, port, path and query keys are shown; userinfo, values and fragment are not."""
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@h:8443/a?key=abc#top", "https://h:8443/a"),
        (URL("https://user:pw@h/a?key=abc"), "https://h/a"),
        ("https://h", "https://h/"),
    ],
)
def test_url_without_query_is_scheme_host_port_and_path(url: str | URL, shown: str) -> None:
    """In an error message not even the keys are shown."""
    assert without_query(url) == shown


@pytest.mark.parametrize(
    "url",
    ["http://user:pw@host:port:bad/", "http://u:pw@h:99999/", "http://u:pw@[::1/", "u:pw@h", "http:/u:pw@h"],
)
def test_url_that_cannot_be_taken_apart_is_not_shown(url: str) -> None:
    """A broken URL may have its secret anywhere, so nothing of it is shown."""
    assert redact_url(url) == without_query(url) == UNREADABLE_URL


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://proxy/https://user:pw@h/a", "https://proxy/https://***@h/a"),
        ("///user:pw@h/a", "/***@h/a"),
        ("https://h/a?http://user:pw@h/b=1", "https://h/a?http://***@h/b=***"),
        ("https://registry/@scope/name", "https://registry/@scope/name"),
    ],
)
def test_url_with_userinfo_in_its_path_hides_it(url: str, shown: str) -> None:
    """A URL carried in a URL, or behind a mistyped scheme, keeps its credentials to itself."""
    assert redact_url(url) == shown


@given(
    scheme=st.sampled_from(["http://", "https://", "//", "http:/", "http:", "ftp://", "http:/\\", ""]),
    user=st.text(),
    host=st.text(),
    key=st.text("abc[]&%", min_size=1),
    rest=st.text(),
)
@example(scheme="http://", user="u?", host="h?=", key="k", rest="")
@example(scheme="//", user="", host="", key="k", rest="")
@example(scheme="http://", user="a/b", host="h:port:bad", key="k", rest="")
def test_url_with_secrets_in_any_company_shows_none(scheme: str, user: str, host: str, key: str, rest: str) -> None:
    """Neither a password, a query value nor a fragment is ever shown, and no text raises."""
    in_userinfo = f"{scheme}{user}:{CANARY}@{host}"
    for url in (in_userinfo, f"{scheme}h/a?{key}={CANARY}{rest}#{CANARY}"):
        assert CANARY not in redact_url(url)
        assert CANARY not in without_query(url)


@given(st.text() | st.text("\r\n\x00\x1b\x85\u2028\u202e a"))
@settings(derandomize=True, deadline=None)
def test_shown_text_is_printable_and_bounded(text: str) -> None:
    """Nothing shown can break a log line, drive a terminal or flood a log."""
    for shown in (
        redact_text(text),
        redact_url(text),
        redact_url(f"http://h/{text}"),
        *redact_headers({text: text}),
        *redact_headers({"Server": text}).values(),
    ):
        assert shown.isprintable()
        assert len(shown) <= LONGEST + 1


def test_shown_text_with_control_characters_replaces_them() -> None:
    """A line break cannot start a forged log line."""
    assert redact_text("ok\r\nERROR: forged") == "ok��ERROR: forged"


def test_shown_text_that_is_over_long_is_cut() -> None:
    """A cut is marked by an ellipsis; what just fits is left alone."""
    assert redact_text("a" * 9, longest=8) == "aaaaaaaa…"
    assert redact_text("a" * 8, longest=8) == "aaaaaaaa"
