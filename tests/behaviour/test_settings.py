"""Invalid settings are refused at construction with field, value, range and remedy."""

from __future__ import annotations

import math
from typing import Any

import pytest

from resilient_client import (
    AdaptiveConcurrency,
    APIClient,
    Backoff,
    Bulkhead,
    Call,
    CircuitBreaker,
    ConfigurationError,
    ConnectionSettings,
    Fallback,
    HealthCheck,
    InvalidRequestError,
    LoadBalancing,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
)
from resilient_client._core.call import CallOptions
from resilient_client._settings.base import Settings
from resilient_client._settings.config import ClientConfig
from resilient_client._settings.hedging import Hedging

pytestmark = [pytest.mark.one_loop, pytest.mark.one_path]

URL = "http://api.example.com"
NAN, INF = math.nan, math.inf

WRONG: list[tuple[type[Settings], str, list[Any]]] = [
    (Timeout, "total", [0, -1, NAN, INF, True, "soon", "5 parsecs", []]),
    (Timeout, "attempt", [0, -1, NAN, INF, False]),
    (Timeout, "connect", [0, -0.1, NAN, INF]),
    (Timeout, "idle", [0, -1, NAN, INF]),
    (Retry, "max_attempts", [0, -1, 101, 1.5, "many", None]),
    (Retry, "backoff", ["quickly", {"initial": -1}, {"kind": "none"}, 5, None]),
    (Retry, "statuses", [{200}, {399}, {600}, {"teapot"}, 503]),
    (Retry, "max_retry_after", [-1, NAN, INF, None]),
    (Retry, "throttled_delay", [-1, NAN, INF, None]),
    (Backoff, "kind", ["quick", None]),
    (Backoff, "initial", [0, -1, NAN, INF]),
    (Backoff, "multiplier", [0.5, 0, NAN, INF]),
    (Backoff, "max_delay", [0, -1, NAN, INF]),
    (RetryBudget, "max_extra_load", [-0.1, 1.1, NAN]),
    (RetryBudget, "initial", [-1, NAN, INF]),
    (RetryBudget, "burst", [0, -1, NAN, INF]),
    (RetryBudget, "min_per_second", [-1, NAN, INF]),
    (CircuitBreaker, "failure_ratio", [0, -0.1, 1.1, NAN]),
    (CircuitBreaker, "minimum_calls", [0, -1, 1.5]),
    (CircuitBreaker, "window", [0, -1, NAN, INF]),
    (CircuitBreaker, "slow_call", [0, -1, NAN]),
    (CircuitBreaker, "slow_ratio", [0, 1.1, NAN]),
    (CircuitBreaker, "break_duration", [0, -1, NAN, INF]),
    (CircuitBreaker, "max_break_duration", [0, -1, NAN, INF]),
    (CircuitBreaker, "half_open_probes", [0, -1, 0.5]),
    (CircuitBreaker, "mode", ["on", None, True]),
    (Hedging, "delay", [0, -1, NAN, INF, "p9", "p49", "p100", "fast", None]),
    (Hedging, "max_hedges", [0, -1, 11, 1.5, None]),
    (Hedging, "max_extra_load", [0, -0.1, 1.1, NAN]),
    (Bulkhead, "max_concurrent", [0, -1, 1.5, None, "many", INF]),
    (Bulkhead, "max_queue", [-1, 1.5, None, INF]),
    (Bulkhead, "max_wait", [0, -1, NAN, INF]),
    (AdaptiveConcurrency, "initial", [0, -1, 1.5, None]),
    (AdaptiveConcurrency, "min_limit", [0, -1, 1.5, None]),
    (AdaptiveConcurrency, "max_limit", [0, -1, None, INF]),
    (AdaptiveConcurrency, "tolerance", [0.9, 0, -1, NAN, INF, None]),
    (AdaptiveConcurrency, "max_queue", [-1, 1.5, None, INF]),
    (AdaptiveConcurrency, "max_wait", [0, -1, NAN, INF]),
    (RateLimit, "rate", [0, -1, NAN, INF, None, "quick"]),
    (RateLimit, "per", [0, -1, NAN, INF, None]),
    (RateLimit, "burst", [0, -1, 1.5, None]),
    (RateLimit, "max_wait", [-1, NAN, INF, None]),
    (RateLimit, "max_pause", [-1, NAN, INF, None]),
    (LoadBalancing, "strategy", ["random", None]),
    (LoadBalancing, "decay", [0, -1, NAN, INF]),
    (LoadBalancing, "eject_failures", [0, -1, 1.5]),
    (LoadBalancing, "eject_slow", [1, 0, NAN, INF]),
    (LoadBalancing, "ejection_time", [0, -1, NAN, INF]),
    (LoadBalancing, "max_ejection_time", [0, -1, NAN, INF]),
    (LoadBalancing, "max_ejected_ratio", [-0.1, 1.1, NAN]),
    (LoadBalancing, "panic_below", [-0.1, 1.1, NAN]),
    (LoadBalancing, "slow_start", [-1, NAN, INF]),
    (LoadBalancing, "health_check", [5, "health", {"interval": 0}]),
    (LoadBalancing, "resolve", ["dns", 5]),
    (LoadBalancing, "resolve_interval", [0, -1, NAN, INF]),
    (HealthCheck, "path", ["health", "", "//a", "/a b", "/a#b", None]),
    (HealthCheck, "interval", [0, -1, NAN, INF]),
    (HealthCheck, "timeout", [0, -1, NAN, INF]),
    (HealthCheck, "rise", [0, 1.5]),
    (HealthCheck, "fall", [0, 1.5]),
    (ConnectionSettings, "pool_size", [-1, 1.5, None]),
    (ConnectionSettings, "pool_size_per_host", [-1, "many"]),
    (ConnectionSettings, "keepalive", [-1, NAN, INF]),
    (ConnectionSettings, "dns_ttl", [0, -1, NAN]),
    (ConnectionSettings, "tls", ["yes please", 5]),
    (ConnectionSettings, "proxy", ["proxy.example:3128", "socks5://x", 5]),
    (ConnectionSettings, "trust_env", ["perhaps"]),
    (ConnectionSettings, "cookies", ["perhaps"]),
    (ConnectionSettings, "max_response_size", [0, -1, "big"]),
    (ConnectionSettings, "max_field_size", [0, -1, None, "big"]),
    (ConnectionSettings, "max_headers", [0, -1, None, "many"]),
    (ConnectionSettings, "aiohttp_middlewares", [5, [5]]),
    (ClientConfig, "timeout", [0, -1, "soon", True]),
    (ClientConfig, "retry", [5, {"max_attempts": 0}]),
    (ClientConfig, "retry_budget", [5, {"max_extra_load": 2}]),
    (ClientConfig, "circuit_breaker", [5, {"failure_ratio": 2}]),
    (ClientConfig, "hedging", [5, "p95", {"max_hedges": 0}]),
    (ClientConfig, "bulkhead", [5, {"max_concurrent": 0}, {"initial": 0}, "20"]),
    (ClientConfig, "rate_limit", [5, {"rate": 0}, {}]),
    (ClientConfig, "priority", ["urgent", None, 1]),
    (ClientConfig, "fallback", [5, [], "none", Fallback]),
    (ClientConfig, "coalesce", [None, "often"]),
    (ClientConfig, "load_balancing", [5, None]),
    (ClientConfig, "connection", [5, None]),
    (ClientConfig, "follow_redirects", ["always", True]),
    (ClientConfig, "max_redirects", [0, 101, None, 1.5, "x"]),
    (ClientConfig, "max_json_values", [0, -1, 1.5, "x"]),
    (ClientConfig, "raise_for_status", [None, "perhaps"]),
    (ClientConfig, "idempotency_header", [5, None, "", "a b", "a\r\nb"]),
]
CASES = [(model, field, value) for model, field, values in WRONG for value in values]


@pytest.mark.parametrize(("model", "field", "value"), CASES, ids=str)
def test_invalid_setting_names_field(model: type[Settings], field: str, value: Any) -> None:
    """Every setting, every way to get it wrong: a ConfigurationError with the field and what to do."""
    with pytest.raises(ConfigurationError) as caught:
        model(**{field: value})
    text = str(caught.value)
    assert field in text
    assert "\n" not in text
    assert any(word in text for word in ("must be", "give", "did you mean", "such as", "not a", "not NaN")), text


def test_table_covers_every_setting() -> None:
    """A setting that is added must be added to the table above."""
    fields = {(model, field) for model, field, _ in WRONG}
    models = {model for model, _ in fields}
    assert fields == {(model, field) for model in models for field in model.model_fields}


@pytest.mark.parametrize(("make", "field"), [(Bulkhead, "max_concurrent"), (RateLimit, "rate")])
def test_required_setting_is_missing(make: type[Settings], field: str) -> None:
    """A setting without a default is reported as missing."""
    with pytest.raises(ConfigurationError, match=rf"^{make.__name__}\.{field} is missing; give a "):
        make()


@pytest.mark.parametrize(
    ("value", "kind"),
    [({"max_concurrent": 3}, Bulkhead), ({"initial": 3}, AdaptiveConcurrency), ({}, AdaptiveConcurrency)],
)
def test_bulkhead_mapping_fixed_or_adaptive(value: Any, kind: type[Settings]) -> None:
    """A mapping becomes the bulkhead that its keys describe."""
    assert ClientConfig(bulkhead=value).bulkhead == kind(**value)


@pytest.mark.parametrize("model", sorted({model for model, _, _ in WRONG}, key=str))
def test_misspelt_setting_suggests_closest(model: type[Settings]) -> None:
    """One letter too many in the first field of each."""
    known = next(iter(model.model_fields))
    with pytest.raises(ConfigurationError, match=f"did you mean '{known}'"):
        model(**{f"{known}s": 1})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Timeout(total=1, attempt=2), ["attempt=2", "total=1"]),
        (lambda: Timeout(attempt=1, connect=2), ["connect=2", "attempt=1"]),
        (lambda: Timeout(total=1, connect=2), ["connect=2", "total=1"]),
        (lambda: Backoff(initial=5, max_delay=1), ["initial=5", "max_delay=1"]),
        (lambda: RetryBudget(initial=5, burst=1), ["initial=5", "burst=1"]),
        (lambda: LoadBalancing(ejection_time=9, max_ejection_time=1), ["ejection_time=9", "max_ejection_time=1"]),
        (lambda: Bulkhead(max_concurrent=1, max_wait=2), ["max_wait=2", "max_queue is 0"]),
        (lambda: AdaptiveConcurrency(max_queue=0, max_wait=2), ["max_wait=2", "max_queue is 0"]),
        (lambda: AdaptiveConcurrency(min_limit=9, initial=5), ["min_limit=9", "initial=5"]),
        (lambda: AdaptiveConcurrency(initial=9, max_limit=5), ["initial=9", "max_limit=5"]),
        (lambda: CircuitBreaker(break_duration=9, max_break_duration=1), ["break_duration=9", "max_break_duration=1"]),
    ],
)
def test_contradicting_settings_name_both(wrong: Any, words: list[str]) -> None:
    """Settings that are given together must agree."""
    with pytest.raises(ConfigurationError) as caught:
        wrong()
    assert all(word in str(caught.value) for word in words)


def test_default_adapts_to_given_setting() -> None:
    """Defaults adapt: a long attempt lifts the default total, a short total clips the default attempt."""
    assert Timeout(attempt=60).limits().total == 60
    assert Timeout(total=2).limits().attempt == 2


@pytest.mark.parametrize(
    "url", ["api.example.com", "/users", "ftp://x", "http://", "http://u:p@x", "http://x?a=1", "", 5]
)
def test_invalid_base_url_refused(url: Any) -> None:
    """No scheme, no host, credentials, a query, dot segments, no text."""
    with pytest.raises(ConfigurationError):
        APIClient(url)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("timeouts", "timeout"), ("retries", "retry"), ("header", "headers"), ("base_uri", "base_url")],
)
def test_misspelt_client_keyword(misspelt: str, meant: str) -> None:
    """The error suggests the closest keyword."""
    options: Any = {misspelt: 1}
    with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'"):
        APIClient(URL, **options) if meant != "base_url" else APIClient(**options)


def test_misspelt_view_keyword() -> None:
    """The error suggests the closest keyword that a view may change."""
    options: Any = {"timeouts": 1}
    with pytest.raises(ConfigurationError, match=r"with_options\(\) .* did you mean 'timeout'"):
        APIClient(URL).with_options(**options)


@pytest.mark.parametrize("option", ["circuit_breaker", "connection", "auth", "retry_budget", "bulkhead", "rate_limit"])
def test_view_cannot_change_shared_settings(option: str) -> None:
    """The error names what a view can change."""
    options: Any = {option: None}
    with pytest.raises(ConfigurationError, match="timeout"):
        APIClient(URL).with_options(**options)


@pytest.mark.parametrize("make", [lambda **o: Call.get("/", **o), lambda **o: APIClient(URL).get("/", **o)])
def test_misspelt_call_option(make: Any) -> None:
    """The option is refused before anything is sent or awaited."""
    with pytest.raises(InvalidRequestError, match="did you mean 'timeout'"):
        make(timeouts=1)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "soon"},
        {"timeout": math.nan},
        {"timeout": [1]},
        {"timeout": True},
        {"retry": 5},
        {"retry": [5]},
        {"raise_for_status": "perhaps"},
        {"raise_for_status": None},
    ],
    ids=str,
)
async def test_invalid_call_option(options: CallOptions) -> None:
    """The error names the option, and nothing is sent."""
    async with APIClient("http://127.0.0.1:9") as api:
        with pytest.raises(InvalidRequestError, match=next(iter(options))):
            await api.get("/", **options)


@pytest.mark.parametrize("value", [{"total": 3}, Timeout(total=3), 3, 3.0, "3s", "3000ms"], ids=str)
async def test_call_timeout_in_every_form(value: Any) -> None:
    """A call accepts what the constructor accepts."""
    assert APIClient(URL, timeout=value).config.timeout.total == 3
    async with APIClient("http://127.0.0.1:9", retry=None) as api:
        rows = {row.setting: row.value for row in api.explain("GET", "/", timeout=value).settings}
        assert rows["timeout.total"] == 3
        with pytest.raises(Exception, match="cannot connect"):
            await api.get("/", timeout=value)


def test_session_and_transport_refused() -> None:
    """Both would send, so only one may be given."""
    both: Any = {"session": object(), "transport": object()}
    with pytest.raises(ConfigurationError, match="exclude each other"):
        APIClient(URL, **both)


@pytest.mark.parametrize("session", [object(), "session"])
def test_invalid_session_refused(session: Any) -> None:
    """The error names the type."""
    with pytest.raises(ConfigurationError, match=type(session).__name__):
        APIClient(URL, session=session)


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"Host": "evil"}},
        {"headers": {"X": 5}},
        {"params": {"a": object()}},
    ],
    ids=["line break", "space", "framing header", "number", "object"],
)
def test_unsendable_headers_or_params_refused(options: Any) -> None:
    """They are refused at construction, not at the first call."""
    with pytest.raises((ConfigurationError, InvalidRequestError)):
        APIClient(URL, **options)
