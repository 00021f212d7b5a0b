"""What a target may be, and what is said of one that may not."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from resilient_client import APIClient, ConfigurationError, InvalidRequestError, Probe, Prober
from resilient_client.health._target import probes_of

URL = "https://users.example/health"


async def ping(_database: str = "main") -> None:
    """A database that answers."""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"expect_status": 99}, "expect_status is 99"),
        ({"expect_status": ()}, "expect_status is ()"),
        ({"expect_status": "200"}, "expect_status is '200'"),
        ({"expect_status": {200, 700}}, "or several: {200, 404}"),
        ({"expect_body": 3}, "expect_body is int"),
        ({"expect_body": re.compile(b"ok")}, "a compiled pattern of text"),
        ({"expect_body": "ok", "method": "HEAD"}, "a reply to HEAD has none"),
        ({"timeout": 0}, "timeout is 0; give a number of seconds above 0"),
        ({"timeout": True}, "timeout is True"),
        ({"slow": -1}, "slow is -1"),
        ({"certificate_days": -1}, "certificate_days is -1"),
        ({"headers": {"Host": "x"}}, "header 'Host' frames the message"),
        ({"name": " "}, "the name of a target is ' '"),
        ({"tags": {"team": 1}}, "give a mapping of texts to texts"),
        ({"client": "api"}, "client is str; give an APIClient"),
        ({"client": APIClient}, "client is the class APIClient; give an APIClient"),
        ({"critical": "no"}, "critical is 'no'; give True or False"),
        ({"critical": None}, "critical is None"),
        ({"slow": 10**400}, "slow is 1000"),
    ],
)
def test_probe_with_a_wrong_setting_names_it(options: Any, words: str) -> None:
    """One sentence: what is wrong, and what to give."""
    with pytest.raises(ConfigurationError, match=re.escape(words)) as wrong:
        Probe(URL, **options)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    "url", ["ftp://users.example", "users.example/health", "/health", "", "http://", "http://[::1"]
)
def test_probe_of_something_that_is_no_http_url_is_refused(url: str) -> None:
    """With the remedy, for a path, too."""
    with pytest.raises(ConfigurationError, match=r"not an absolute http\(s\) URL; give one such as .* or client="):
        Probe(url)


def test_probe_of_a_url_with_credentials_is_refused_without_showing_them() -> None:
    """Neither the password nor the user stands in the message."""
    with pytest.raises(InvalidRequestError) as wrong:
        Probe("https://root:hunter2@users.example/")
    assert "hunter2" not in str(wrong.value)
    assert "root" not in str(wrong.value)


def test_probe_of_a_misspelt_scheme_with_credentials_does_not_show_them() -> None:
    """What is no URL may hold a password all the same."""
    with pytest.raises(ConfigurationError) as wrong:
        Probe("htps://root:hunter2@users.example/")
    assert "hunter2" not in str(wrong.value)


@pytest.mark.parametrize("target", [3, None, b"http://x", APIClient])
def test_probe_of_something_that_cannot_be_asked_is_refused(target: Any) -> None:
    """Neither a URL nor a function."""
    with pytest.raises(ConfigurationError, match="give a URL, an async function, or Probe"):
        Probe(target)


@pytest.mark.parametrize(
    "options",
    [
        {"expect_body": "ok"},
        {"headers": {"A": "b"}},
        {"client": APIClient()},
        {"expect_status": 200},
        {"method": "HEAD"},
        {"certificate_days": 7},
    ],
)
def test_probe_of_a_function_refuses_what_is_for_urls(options: Any) -> None:
    """It would be without effect, which nobody would notice."""
    with pytest.raises(ConfigurationError, match="are for URLs"):
        Probe(ping, **options)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (f"{URL}?token=hunter2", "users.example/health"),
        (ping, "ping"),
        (partial(ping, "replica"), "ping"),
    ],
)
def test_probe_without_a_name_is_called_after_its_target(target: Any, name: str) -> None:
    """Without scheme and query of a URL."""
    assert Probe(target).name == name


def test_probe_shows_neither_query_values_nor_headers() -> None:
    """Its ``repr`` and what stands in a report are fit to be seen."""
    probe = Probe(f"{URL}?token=hunter2", headers={"Authorization": "Bearer hunter2"})
    assert probe.shown == f"{URL}?token=***"
    assert "hunter2" not in repr(probe)


def test_probe_through_a_client_takes_a_path_below_its_base_url() -> None:
    """As any call of that client does."""
    assert Probe("/health", client=APIClient("https://users.example/v1")).shown == "https://users.example/v1/health"


def test_probe_through_a_client_of_another_origin_is_refused() -> None:
    """At once, not as a target that is down."""
    with pytest.raises(InvalidRequestError, match="another origin"):
        Probe(URL, client=APIClient("https://orders.example"))


@pytest.mark.parametrize("targets", [[], {}, ()])
def test_targets_that_are_none_at_all_are_refused(targets: Any) -> None:
    """A check of nothing would always be well."""
    with pytest.raises(ConfigurationError, match="there are no targets; give at least one"):
        Prober(targets)


@pytest.mark.parametrize("targets", [URL, ping, Probe(URL), 3])
def test_targets_that_are_one_target_are_refused(targets: Any) -> None:
    """A URL is an iterable of characters: nobody means that."""
    with pytest.raises(ConfigurationError, match="give a list such as"):
        Prober(targets)


def test_targets_of_the_same_name_are_refused() -> None:
    """Nobody could tell them apart in a report."""
    with pytest.raises(ConfigurationError, match=r"two targets are called 'users\.example/health'; name them"):
        Prober([URL, f"{URL}?deep=1"])


def test_targets_in_a_mapping_are_called_as_it_says() -> None:
    """Its key is nearer than the name within a ``Probe``, which may be shared by several checks."""
    shared = Probe(URL, name="users")
    assert [probe.name for probe in probes_of({"primary": shared, "ping": ping}, None)] == ["primary", "ping"]
    assert shared.name == "users"


def test_targets_without_a_client_of_their_own_are_asked_through_that_of_the_check() -> None:
    """Paths below its base URL become possible; a target's own client stays."""
    api, other = APIClient("https://api.example"), APIClient("https://other.example")
    mine, theirs, function = probes_of({"a": "/health", "b": Probe("/health", client=other), "c": ping}, api)
    assert [mine.shown, theirs.shown, function.shown] == [
        "https://api.example/health",
        "https://other.example/health",
        "ping",
    ]
    assert (mine.client, theirs.client, function.client) == (api, other, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": None}, "timeout is None"),
        ({"concurrency": 0}, "concurrency is 0; give a whole number, 1 or more"),
        ({"concurrency": -1}, "concurrency is -1"),
        ({"rise": 0}, "rise is 0"),
        ({"fall": 1.5}, "fall is 1.5"),
        ({"max_age": -1}, "max_age is -1"),
        ({"connection": {"tls": False}}, "connection is dict"),
        ({"client": "api"}, "client is str; give an APIClient"),
        ({"on_result": "print"}, "on_result is str; give a function of the ProbeResult"),
    ],
)
def test_prober_with_a_wrong_setting_names_it(options: Any, words: str) -> None:
    """When it is made, not at the first check; whatever its targets are."""
    for target in (URL, Probe(URL), ping):
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            Prober([target], **options)


def test_prober_with_a_client_refuses_settings_for_a_connection() -> None:
    """That client decides them; they would be without effect."""
    from resilient_client import ConnectionSettings

    with pytest.raises(ConfigurationError, match="set it on the client you give"):
        Prober([URL], client=APIClient(), connection=ConnectionSettings())
