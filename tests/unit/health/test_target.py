"""``Probe`` and ``Prober``: what a target may be, and how mistakes are reported."""

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
        ({"expect_body": 3}, "expect_body is of type int"),
        ({"expect_body": re.compile(b"ok")}, "a compiled pattern of text"),
        ({"expect_body": "ok", "method": "HEAD"}, "a reply to HEAD has none"),
        ({"timeout": 0}, "timeout is 0, but must be a duration above 0"),
        ({"timeout": True}, "timeout is True"),
        ({"slow": -1}, "slow is -1"),
        ({"certificate_days": -1}, "certificate_days is -1, but must be a number of days, 0 or more"),
        ({"certificate_days": "14s"}, "certificate_days is '14s'"),
        ({"certificate_days": float("nan")}, "certificate_days is nan"),
        ({"certificate_days": True}, "certificate_days is True"),
        ({"headers": {"Host": "x"}}, "header 'Host' frames the message"),
        ({"name": " "}, "the name of a target is ' '"),
        ({"tags": {"team": 1}}, "give a mapping of text to text"),
        ({"client": "api"}, "client is of type str; give an APIClient"),
        ({"client": APIClient}, "client is the class APIClient; give an APIClient"),
        ({"critical": "no"}, "critical is 'no'; give True or False"),
        ({"critical": None}, "critical is None"),
        ({"slow": 10**400}, "slow is 1000"),
    ],
)
def test_probe_setting_invalid_is_named(options: Any, words: str) -> None:
    """The message is one sentence with the value and the remedy."""
    with pytest.raises(ConfigurationError, match=re.escape(words)) as wrong:
        Probe(URL, **options)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    "url", ["ftp://users.example", "users.example/health", "/health", "", "http://", "http://[::1"]
)
def test_probe_url_invalid_is_refused(url: str) -> None:
    """The message has the remedy, also for a path."""
    with pytest.raises(ConfigurationError, match=r"not an absolute http\(s\) URL; give one such as .* or client="):
        Probe(url)


def test_probe_url_with_credentials_is_refused() -> None:
    """The message shows neither the password nor the user."""
    with pytest.raises(InvalidRequestError) as wrong:
        Probe("https://root:hunter2@users.example/")
    assert "hunter2" not in str(wrong.value)
    assert "root" not in str(wrong.value)


def test_probe_url_misspelt_shows_no_credentials() -> None:
    """A text that is not a valid URL may hold a password, too."""
    with pytest.raises(ConfigurationError) as wrong:
        Probe("htps://root:hunter2@users.example/")
    assert "hunter2" not in str(wrong.value)


@pytest.mark.parametrize("target", [3, None, b"http://x", APIClient])
def test_probe_target_of_wrong_type_is_refused(target: Any) -> None:
    """A target is a URL or a function."""
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
def test_probe_function_refuses_url_options(options: Any) -> None:
    """The option would have no effect."""
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
def test_probe_default_name_comes_from_target(target: Any, name: str) -> None:
    """The name of a URL has neither scheme nor query."""
    assert Probe(target).name == name


def test_probe_repr_hides_query_values_and_headers() -> None:
    """``repr`` and ``target`` hold no secret."""
    probe = Probe(f"{URL}?token=hunter2", headers={"Authorization": "Bearer hunter2"})
    assert probe.target == f"{URL}?token=***"
    assert "hunter2" not in repr(probe)


def test_probe_with_client_takes_a_path() -> None:
    """The path is below the client's base URL."""
    assert Probe("/health", client=APIClient("https://users.example/v1")).target == "https://users.example/v1/health"


def test_probe_with_several_endpoints_is_named_after_the_url() -> None:
    """The name becomes a metric label, so it is the URL of the first endpoint and holds no further words."""
    probe = Probe("/health?token=hunter2", client=APIClient(["https://a.example", "https://b.example"]))
    assert (probe.name, probe.target) == ("a.example/health", "https://a.example/health?token=***")


def test_probe_with_client_of_another_origin_is_refused() -> None:
    """The mistake is reported at construction, not as a target that is down."""
    with pytest.raises(InvalidRequestError, match="another origin"):
        Probe(URL, client=APIClient("https://orders.example"))


@pytest.mark.parametrize("targets", [[], {}, ()])
def test_targets_empty_are_refused(targets: Any) -> None:
    """A check without targets could never fail."""
    with pytest.raises(ConfigurationError, match="there are no targets; give at least one"):
        Prober(targets)


@pytest.mark.parametrize("targets", [URL, ping, Probe(URL), 3])
def test_targets_single_target_is_refused(targets: Any) -> None:
    """A URL would be taken for an iterable of characters."""
    with pytest.raises(ConfigurationError, match="give a list such as"):
        Prober(targets)


def test_targets_with_equal_names_are_refused() -> None:
    """A report finds a target by its name."""
    with pytest.raises(ConfigurationError, match=r"two targets are called 'users\.example/health'; name them"):
        Prober([URL, f"{URL}?deep=1"])


def test_targets_in_mapping_are_named_by_key() -> None:
    """The key wins over the name of a ``Probe``, which several checks may share."""
    shared = Probe(URL, name="users")
    assert [probe.name for probe in probes_of({"primary": shared, "ping": ping}, None)] == ["primary", "ping"]
    assert shared.name == "users"


def test_targets_use_client_of_check_by_default() -> None:
    """Paths below its base URL become possible. A target's own client stays."""
    api, other = APIClient("https://api.example"), APIClient("https://other.example")
    path, own_client, function = probes_of({"a": "/health", "b": Probe("/health", client=other), "c": ping}, api)
    assert [path.target, own_client.target, function.target] == [
        "https://api.example/health",
        "https://other.example/health",
        "ping",
    ]
    assert (path.client, own_client.client, function.client) == (api, other, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": None}, "timeout is None"),
        ({"concurrency": 0}, "concurrency is 0, but must be a whole number, 1 or more"),
        ({"concurrency": -1}, "concurrency is -1"),
        ({"rise": 0}, "rise is 0"),
        ({"fall": 1.5}, "fall is 1.5"),
        ({"max_age": -1}, "max_age is -1"),
        ({"connection": {"tls": False}}, "connection is of type dict"),
        ({"client": "api"}, "client is of type str; give an APIClient"),
        ({"on_result": "print"}, "on_result is of type str; give a function of the ProbeResult"),
    ],
)
def test_prober_setting_invalid_is_named(options: Any, words: str) -> None:
    """At construction, not at the first check, and for any kind of target."""
    for target in (URL, Probe(URL), ping):
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            Prober([target], **options)


def test_prober_with_client_refuses_connection_settings() -> None:
    """The settings would have no effect: the client has its own."""
    from resilient_client import ConnectionSettings

    with pytest.raises(ConfigurationError, match="set it on the client you give"):
        Prober([URL], client=APIClient(), connection=ConnectionSettings())
