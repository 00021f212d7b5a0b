"""Compiled templates give the URLs and the errors of ``build_url``, whatever template and values are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, strategies
from yarl import URL

from resilient_client._core.errors import InvalidRequestError
from resilient_client._policies.http import template as module
from resilient_client._policies.http.template import PathTemplate
from resilient_client._policies.http.urls import build_url

BASES = [URL("https://h.example/"), URL("https://h.example:8443/v1/tenant%20a/"), None]
PIECES = [
    "/", "{a}", "{b}", "{a?}", "{", "}", ".", "..", "%", "%2", "%2e", "%2F", ";", ":", "?", "#", "&x=", "=", "//",
    "items", "\u20ac", " ", "\\", "https://o.example", "https://o.example:1/", "http:", "@", "\ud800", "A", "~",
]  # fmt: skip
VALUES = ["1", ".", "..", ".x", ";x", "/x", "a/b", "%2e", "%", "\u20ac", "", "x y", "\ud800", "41", "e", "x" * 300]
templates = strategies.lists(strategies.sampled_from(PIECES), max_size=7).map("".join)
values = strategies.dictionaries(
    strategies.sampled_from(["a", "b", "a?", "c"]),
    strategies.one_of(
        strategies.sampled_from(VALUES), strategies.text(max_size=4), strategies.integers(), strategies.floats(),
        strategies.booleans(), strategies.none(), strategies.just(10**5000),
    ),
    max_size=3,
)  # fmt: skip


def result(make: Any, *arguments: Any) -> object:
    """Every part of the URL, or the error."""
    try:
        url = make(*arguments)
    except (InvalidRequestError, ValueError) as error:
        return type(error), str(error)
    return (
        str(url),
        url.scheme,
        url.host,
        url.port,
        url.raw_authority,
        url.raw_path,
        url.raw_query_string,
        url == URL(str(url), encoded=True),
    )


@given(strategies.sampled_from(BASES), templates, values)
@example(BASES[0], "/a/.{a}", {"a": ";x"})
@example(BASES[0], "/a/.{a}", {"a": "/x"})
@example(BASES[1], "/a/%{a}", {"a": "41"})
@example(BASES[1], "/{a}{b}", {"a": ".x", "b": 1})
@example(BASES[0], "{a}:b", {"a": "http"})
@example(BASES[0], "/{a}?q={b}#{a}", {"a": 1, "b": "x&y=1"})
@example(BASES[2], "https://o.example/{a}?x={b}", {"a": True, "b": 2.5})
@example(BASES[2], "https://o.example:443/{a}", {"a": "x"})
@example(BASES[2], "https://{a}/x", {"a": "h"})
def test_template_gives_what_build_url_gives(base: URL | None, template: str, given: dict[str, Any]) -> None:
    """The URL is the same to the byte, and so is the error."""
    assert result(PathTemplate(base, template).url, given) == result(build_url, base, template, given)


@pytest.mark.parametrize(
    ("base", "template", "values", "url"),
    [
        (BASES[0], "/items/{id}", {"id": 7}, "https://h.example/items/7"),
        (BASES[1], "/items/{id}.json", {"id": "a b"}, "https://h.example:8443/v1/tenant%20a/items/a%20b.json"),
        (BASES[1], "/{a}/{b}?q={b}&r=1", {"a": "x/y", "b": "\u20ac"}, None),
        (None, "https://o.example/{id}", {"id": "7"}, "https://o.example/7"),
    ],
)
def test_usual_templates_are_compiled(
    monkeypatch: pytest.MonkeyPatch, base: URL | None, template: str, values: dict[str, Any], url: str | None
) -> None:
    """They do not need ``build_url``, which costs several times as much."""
    url = url or str(build_url(base, template, values))
    monkeypatch.setattr(module, "build_url", None)
    assert str(PathTemplate(base, template).url(values)) == url
