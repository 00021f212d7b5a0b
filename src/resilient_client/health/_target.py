"""Describes a target: what to call, and what a good answer is. Finds every mistake in that, and sends nothing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeAlias, cast

from yarl import URL

from resilient_client._client.client import APIClient
from resilient_client._core.call import Call, CallOptions, route_of
from resilient_client._core.errors import ConfigurationError
from resilient_client._core.frames import forgets_arguments
from resilient_client._core.response import Response
from resilient_client._core.types import Duration, HeadersLike
from resilient_client._core.validation import (
    check_duration,
    check_flag,
    check_mapping,
    kind_of,
    parse_duration,
    read_argument,
    shorten,
)
from resilient_client._policies.http.headers import checked_headers
from resilient_client._policies.http.redaction import redact_text, redact_url
from resilient_client._policies.http.urls import build_url

Function: TypeAlias = Callable[[], Awaitable[object]]
"""An async function without arguments, such as a database ping."""
BodyCheck: TypeAlias = "str | re.Pattern[str] | Callable[[Response], bool]"
"""What a body must hold: a text, a match of a pattern, or anything that makes this function return true."""

DEFAULT_STATUSES = range(200, 400)
"""The statuses that count as up by default, as for the HTTP probes of Kubernetes."""
CERTIFICATE_DAYS = 14.0
"""A target is degraded when its certificate expires in fewer days than this."""

_URL_DEFAULTS = {
    "expect_status": DEFAULT_STATUSES,
    "expect_body": None,
    "_method": "GET",
    "_headers": None,
    "certificate_days": CERTIFICATE_DAYS,
    "client": None,
}
"""The slots that only a URL uses, with their defaults. For a function, another value would have no effect."""


class Probe:
    """One target of a health check: what to call, and what a good answer is.

    Do not change it after construction. Any number of checks may share it.

    Attributes:
        name: The target's name in reports, unique within a check.
        target: The URL without secrets, or the name of the function. ``ProbeResult.target`` is the same.
        critical: Whether the whole is down when this target is.
        timeout: Seconds for this target. With ``None`` only the timeout of the whole check applies.
        slow: Seconds above which an answer is degraded, or ``None``.
        tags: Your labels. The result carries them.
    """

    __slots__ = (
        "_destination",
        "_headers",
        "_method",
        "certificate_days",
        "client",
        "critical",
        "expect_body",
        "expect_status",
        "name",
        "slow",
        "tags",
        "target",
        "timeout",
    )

    @forgets_arguments
    def __init__(
        self,
        target: str | Function,
        *,
        name: str | None = None,
        critical: bool = True,
        expect_status: int | Collection[int] = DEFAULT_STATUSES,
        expect_body: BodyCheck | None = None,
        method: str = "GET",
        headers: HeadersLike | None = None,
        timeout: Duration | None = None,
        slow: Duration | None = None,
        certificate_days: float = CERTIFICATE_DAYS,
        client: APIClient | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a target. Nothing is sent yet.

        Args:
            target: An http(s) URL (with ``client``, also a path below its base URL), or an async function without
                arguments. A function is down when it raises, or returns ``False`` or ``HealthState.DOWN``. It is
                degraded when it returns ``HealthState.DEGRADED``, keeps its state when it returns
                ``HealthState.UNKNOWN``, and is up when it returns anything else.
            name: The name in reports. Default: the URL without scheme and query, or the function's name.
            critical: Whether the whole is down when this target is.
            expect_status: One status, or a collection such as ``{200, 404}`` or ``range(200, 300)``.
            expect_body: A text that the body must contain, a pattern that must match somewhere in it, or a function
                of the ``Response`` that must return true. If the function raises, the target is down. At most 1 MiB
                of the body is read, and 64 KiB without ``expect_body``.
            method: The request's method. It must not change anything on the server.
            headers: Headers of the request. Reports never show them.
            timeout: How long this target may take, above 0. With ``None`` only the timeout of the whole check applies.
            slow: A good answer that takes longer counts as degraded. Above 0. With ``None`` no answer is too slow.
            certificate_days: A good answer counts as degraded when the TLS certificate expires in fewer days than
                this. 0 or more, fractions allowed.
            client: The client to call through instead of the check's own. Its auth, connections and circuits apply,
                so the check measures what your calls experience. It is never closed here.
            tags: Your labels. The result carries them.

        Raises:
            ConfigurationError: An argument has the wrong type or is out of range.
            InvalidRequestError: The URL or the method cannot be sent.
        """
        self._destination = target
        self.critical = check_flag("critical", critical, ConfigurationError)
        self.expect_status = _check_statuses(expect_status)
        self.expect_body = _check_body_check(expect_body)
        self._method = method
        self._headers = None if headers is None else checked_headers(headers, ConfigurationError)
        self.timeout = None if timeout is None else check_duration("timeout", timeout)
        self.slow = None if slow is None else check_duration("slow", slow)
        self.certificate_days = _check_days("certificate_days", certificate_days)
        self.client = check_client(client)
        self.tags = _check_tags(tags)
        if isinstance(target, str):
            self.target = self._check_url(target)
            default_name = self.target.partition("://")[2].partition("?")[0] or self.target
        else:
            self.target = default_name = self._check_function(target)
        self.name = _check_name(default_name if name is None else name)

    @property
    def function(self) -> Function | None:
        """The function to call, or ``None`` for a URL."""
        return None if isinstance(self._destination, str) else self._destination

    def call(self, key: object) -> Call[Response]:
        """The call that checks this target: one attempt, and no exception for an error status.

        The fan-out needs a ``Call`` for a function, too. It is never sent.
        """
        if not isinstance(self._destination, str):
            return Call("GET", self.name, key=key)
        options: CallOptions = {"retry": None, "raise_for_status": False, "tags": {**self.tags, "probe": self.name}}
        if self._headers is not None:
            options["headers"] = list(self._headers.items())
        if self.timeout is not None:
            options["timeout"] = self.timeout
        return Call(self._method, self._destination, key=key, **options)

    def named(self, name: str) -> Probe:
        """A copy with another name.

        Raises:
            ConfigurationError: The name is not a text, or empty.
        """
        other = self._copy()
        other.name = _check_name(name)
        return other

    def through(self, client: APIClient) -> Probe:
        """A copy that is called through ``client``. For a function, or with a client of its own, the same object.

        Raises:
            InvalidRequestError: The URL is not below the base URL of ``client``.
        """
        if self.client is not None or not isinstance(self._destination, str):
            return self
        other = self._copy()
        other.client = client
        other.target = other._check_url(self._destination)
        return other

    def _copy(self) -> Probe:
        other = object.__new__(Probe)
        for slot in self.__slots__:
            setattr(other, slot, getattr(self, slot))
        return other

    def _check_url(self, url: str) -> str:
        """The URL that the call is sent to, redacted. For a client with a list of endpoints, that of the first."""
        call: Call[Response] = Call(self._method, url)
        if self.expect_body is not None and self._method.upper() == "HEAD":
            raise ConfigurationError("expect_body needs a body, and a reply to HEAD has none; use method='GET'")
        if self.client is not None:
            return self.client._redacted_url(call)
        try:
            absolute = URL(url).scheme in ("http", "https") and bool(URL(url).host)
        except ValueError:
            absolute = False
        if not absolute:
            raise ConfigurationError(
                f"the target {redact_text(route_of(url), 80)!r} is not an absolute http(s) URL; give one such "
                "as 'https://users.example.com/health', or client= for a path below its base URL"
            )
        return redact_url(build_url(None, url))

    def _check_function(self, target: object) -> str:
        """The function's name."""
        if not callable(target) or isinstance(target, type):
            raise ConfigurationError(f"a target is {kind_of(target)}; give a URL, an async function, or Probe(...)")
        if any(getattr(self, slot) != default for slot, default in _URL_DEFAULTS.items()):
            raise ConfigurationError(
                "expect_status, expect_body, method, headers, certificate_days and client are for URLs; "
                "check such things in the function itself"
            )
        inner = getattr(target, "func", target)  # a functools.partial has no __name__
        return str(getattr(inner, "__name__", type(inner).__name__))

    def __repr__(self) -> str:
        return f"<Probe {self.name!r}: {self.target}>"


Target: TypeAlias = "str | Probe | Function"
"""What can be checked: a URL, an async function, or a ``Probe`` of either."""
Targets: TypeAlias = "Mapping[str, Target] | Iterable[Target]"
"""Targets by name, or targets that are named after their URL, function or ``Probe``."""


def probes_of(targets: Targets, client: APIClient | None) -> tuple[Probe, ...]:
    """All targets as probes with unique names.

    Args:
        targets: The targets as the caller gave them.
        client: The client for URLs that have no client of their own.

    Raises:
        ConfigurationError: There are no targets, one cannot be checked, or two have the same name.
        InvalidRequestError: A URL cannot be sent, or is not below the base URL of ``client``.
    """
    if isinstance(targets, (str, Probe)) or callable(targets) or not isinstance(targets, Iterable):
        raise ConfigurationError(
            f"targets is {kind_of(targets)}; give a list such as [target], or a mapping of names to targets"
        )
    probes = read_argument("targets", lambda: _each_probe(targets, client), ConfigurationError)
    if not probes:
        raise ConfigurationError("there are no targets; give at least one, such as 'https://users.example.com/health'")
    name, count = Counter(probe.name for probe in probes).most_common(1)[0]
    if count > 1:
        raise ConfigurationError(f"two targets are called {name!r}; name them, as in {{'users': ..., 'orders': ...}}")
    return probes


def _each_probe(targets: Targets, client: APIClient | None) -> tuple[Probe, ...]:
    if isinstance(targets, Mapping):
        named = cast("Mapping[str, Target]", targets)
        return tuple(_probe_of(target, client).named(name) for name, target in named.items())
    return tuple(_probe_of(target, client) for target in targets)


def _probe_of(target: Target, client: APIClient | None) -> Probe:
    if isinstance(target, Probe):
        return target if client is None else target.through(client)
    return Probe(target, client=client if isinstance(target, str) else None)


def check_client(client: object) -> APIClient | None:
    """A client to call through, or ``None``.

    Raises:
        ConfigurationError: The value is something else, such as a URL or a class.
    """
    if client is None or isinstance(client, APIClient):
        return client
    raise ConfigurationError(f"client is {kind_of(client)}; give an APIClient, or leave it out")


def _check_body_check(check: BodyCheck | None) -> BodyCheck | None:
    is_bytes = isinstance(check, re.Pattern) and not isinstance(check.pattern, str)
    if check is None or isinstance(check, str) or (not is_bytes and (isinstance(check, re.Pattern) or callable(check))):
        return check
    raise ConfigurationError(
        f"expect_body is {kind_of(check)}; give a text, a compiled pattern of text, or a function of the Response"
    )


def _check_statuses(statuses: int | Collection[int]) -> Collection[int]:
    expected = (statuses,) if isinstance(statuses, int) else statuses
    if isinstance(expected, Collection) and read_argument(
        "expect_status", lambda: bool(expected) and all(map(_is_status, expected)), ConfigurationError
    ):
        return expected if isinstance(expected, range) else frozenset(expected)
    raise ConfigurationError(
        f"expect_status is {shorten(statuses)}; give a status such as 200, or several: {{200, 404}} or range(200, 300)"
    )


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 599


def _check_days(name: str, value: object) -> float:
    """A number of days. Not a duration: text such as "14s" would be read as seconds, and is refused."""
    days = parse_duration(value) if isinstance(value, (int, float)) else None
    if days is None or not 0 <= days < math.inf:
        raise ConfigurationError(f"{name} is {shorten(value)}, but must be a number of days, 0 or more")
    return days


def _check_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    if tags is None:
        return {}
    pairs = check_mapping("tags", tags, ConfigurationError).items()
    if all(isinstance(text, str) for pair in pairs for text in pair):
        return dict(tags)
    raise ConfigurationError("tags holds a name or value that is not text; give a mapping of text to text")


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"the name of a target is {shorten(name)}; give a text that is not empty")
    return redact_text(name, 120)
