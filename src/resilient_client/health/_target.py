"""What to ask, and what to expect of the answer. Asks nothing itself; whatever is wrong with a target is found here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

from yarl import URL

from resilient_client._core.call import Call, CallOptions
from resilient_client._core.errors import ConfigurationError
from resilient_client._core.response import Response
from resilient_client._core.types import HeadersLike
from resilient_client._core.validation import check_flag
from resilient_client._policies.http.headers import checked_headers
from resilient_client._policies.http.redaction import redact_text, redact_url
from resilient_client._policies.http.urls import build_url
from resilient_client.health._numbers import above_zero, zero_or_more

if TYPE_CHECKING:
    from resilient_client._client.client import APIClient

Function: TypeAlias = Callable[[], Awaitable[object]]
"""An async function without arguments, such as a database ping."""
BodyCheck: TypeAlias = "str | re.Pattern[str] | Callable[[Response], bool]"
"""What a body must hold: a text, something a pattern finds, or whatever a function of the reply says."""

USUAL_STATUS = range(200, 400)
"""What counts as up unless said otherwise, as with the probes of Kubernetes."""
CERTIFICATE_DAYS = 14.0
"""Days before its certificate expires from which a target counts as degraded."""

_FOR_URLS = {
    "expect_status": USUAL_STATUS,
    "expect_body": None,
    "_method": "GET",
    "_headers": None,
    "certificate_days": CERTIFICATE_DAYS,
    "client": None,
}
"""What would be without effect on a function, which nobody would notice; and what it is when it was left out."""


class Probe:
    """One target of a health check: whom to ask, and what a good answer is.

    Frozen by convention; may be shared by any number of checks.

    Attributes:
        name: Stands for the target in reports; unique within a check.
        shown: The URL without secrets, or the name of the function.
        critical: Whether the whole is down when this target is.
        timeout: Seconds for this target; ``None``: only those of the check.
        slow: Seconds above which an answer is degraded, or ``None``.
        tags: Labels of your own; they come back in the result.
    """

    __slots__ = (
        "_headers",
        "_method",
        "_target",
        "certificate_days",
        "client",
        "critical",
        "expect_body",
        "expect_status",
        "name",
        "shown",
        "slow",
        "tags",
        "timeout",
    )

    def __init__(
        self,
        target: str | Function,
        *,
        name: str | None = None,
        critical: bool = True,
        expect_status: int | Collection[int] = USUAL_STATUS,
        expect_body: BodyCheck | None = None,
        method: str = "GET",
        headers: HeadersLike | None = None,
        timeout: float | None = None,
        slow: float | None = None,
        certificate_days: float = CERTIFICATE_DAYS,
        client: APIClient | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a target. Nothing is asked yet.

        Args:
            target: An http(s) URL; with ``client``, also a path below its base URL. Or an async function without
                arguments: it is up when it returns, whatever it returns, but for ``False`` and
                ``HealthState.DOWN``, which are down, ``HealthState.DEGRADED``, and ``HealthState.UNKNOWN``, which
                turns nothing; it is down when it raises.
            name: What reports call it; the URL without its scheme and query, or the function's name, if left out.
            critical: Whether the whole is down when this target is.
            expect_status: One status, or several, such as ``{200, 404}`` or ``range(200, 300)``.
            expect_body: A text that the body must contain, a pattern that must be found in it, or a function of the
                ``Response`` that must return true; if it raises, the target is down.
            method: Of the request; must not change anything at the server.
            headers: Sent along; never shown.
            timeout: Seconds for this target, above 0; ``None``: only the timeout of the whole check.
            slow: Seconds above which a good answer counts as degraded; ``None``: however long it takes.
            certificate_days: Days before the TLS certificate expires from which on a good answer counts as
                degraded; 0 or more.
            client: Whom to ask through, instead of the check's own client: its auth, connections and circuits
                apply, so what is measured is what your calls go through. Never closed here.
            tags: Labels of your own; they come back in the result.

        Raises:
            ConfigurationError: Something of this cannot be.
            InvalidRequestError: The URL or the method cannot be sent.
        """
        self._target = target
        self.critical = check_flag("critical", critical, ConfigurationError)
        self.expect_status = _statuses(expect_status)
        self.expect_body = _body_check(expect_body)
        self._method = method
        self._headers = None if headers is None else checked_headers(headers, ConfigurationError)
        self.timeout = None if timeout is None else above_zero("timeout", timeout)
        self.slow = None if slow is None else above_zero("slow", slow)
        self.certificate_days = zero_or_more("certificate_days", certificate_days, "days")
        self.client = checked_client(client)
        self.tags = _tags(tags)
        self.shown = self._check_url(target) if isinstance(target, str) else self._check_function(target)
        self.name = _name(name if name is not None else self.shown.partition("://")[2].partition("?")[0] or self.shown)

    @property
    def function(self) -> Function | None:
        """The function to ask; ``None`` for a URL."""
        return None if isinstance(self._target, str) else self._target

    def call(self, key: object) -> Call[Response]:
        """The call that asks this target, to be made with one attempt and no raising; for a function, a stand-in."""
        if not isinstance(self._target, str):
            return Call("GET", self.name, key=key)
        options: CallOptions = {"retry": None, "raise_for_status": False, "tags": {**self.tags, "probe": self.name}}
        if self._headers is not None:
            options["headers"] = list(self._headers.items())
        if self.timeout is not None:
            options["timeout"] = self.timeout
        return Call(self._method, self._target, key=key, **options)

    def named(self, name: str) -> Probe:
        """The same target by another name."""
        other = self._copy()
        other.name = _name(name)
        return other

    def through(self, client: APIClient) -> Probe:
        """The same target, asked through ``client`` unless it has one of its own.

        Raises:
            InvalidRequestError: The URL does not lie below the base URL of ``client``.
        """
        if self.client is not None or not isinstance(self._target, str):
            return self
        other = self._copy()
        other.client = client
        other.shown = other._check_url(self._target)
        return other

    def _copy(self) -> Probe:
        other = object.__new__(Probe)
        for slot in self.__slots__:
            setattr(other, slot, getattr(self, slot))
        return other

    def _check_url(self, url: str) -> str:
        Call(self._method, url)
        if self.expect_body is not None and self._method.upper() == "HEAD":
            raise ConfigurationError("expect_body needs a body, and a reply to HEAD has none; use method='GET'")
        if self.client is not None:
            return self.client.explain(self._method, url).request.partition(" ")[2]
        try:
            absolute = URL(url).scheme in ("http", "https") and bool(URL(url).host)
        except ValueError:
            absolute = False
        if not absolute:
            raise ConfigurationError(
                f"the target {redact_text(url.rpartition('@')[2], 80)!r} is not an absolute http(s) URL; give one such "
                "as 'https://users.example.com/health', or client= for a path below its base URL"
            )
        return redact_url(build_url(None, url))

    def _check_function(self, target: object) -> str:
        if not callable(target) or isinstance(target, type):
            kind = target.__name__ if isinstance(target, type) else type(target).__name__
            raise ConfigurationError(f"a target is {kind}; give a URL, an async function, or Probe(...)")
        if any(getattr(self, slot) != usual for slot, usual in _FOR_URLS.items()):
            raise ConfigurationError(
                "expect_status, expect_body, method, headers, certificate_days and client are for URLs; "
                "let the function itself see to it"
            )
        inner = getattr(target, "func", target)  # a functools.partial has no name of its own
        return str(getattr(inner, "__name__", type(inner).__name__))

    def __repr__(self) -> str:
        return f"<Probe {self.name!r}: {self.shown}>"


Target: TypeAlias = "str | Probe | Function"
"""Whatever can be asked: a URL, an async function, or one of them with its expectations."""
Targets: TypeAlias = "Mapping[str, Target] | Iterable[Target]"
"""Targets by name, or targets that name themselves."""


def probes_of(targets: Targets, client: APIClient | None) -> tuple[Probe, ...]:
    """All targets as probes, each with a name of its own.

    Args:
        targets: As they were given.
        client: Whom to ask through where a target does not say.

    Raises:
        ConfigurationError: There are none, one is nothing that can be asked, or two have one name.
    """
    if isinstance(targets, (str, Probe)) or callable(targets) or not isinstance(targets, Iterable):
        raise ConfigurationError(
            f"targets is one {type(targets).__name__}; give a list such as [target], or a mapping of names to targets"
        )
    if isinstance(targets, Mapping):
        named = cast("Mapping[str, Target]", targets)
        probes = tuple(_probe(target, client).named(name) for name, target in named.items())
    else:
        probes = tuple(_probe(target, client) for target in targets)
    if not probes:
        raise ConfigurationError("there are no targets; give at least one, such as 'https://users.example.com/health'")
    name, times = Counter(probe.name for probe in probes).most_common(1)[0]
    if times > 1:
        raise ConfigurationError(f"two targets are called {name!r}; name them, as in {{'users': ..., 'orders': ...}}")
    return probes


def _probe(target: Target, client: APIClient | None) -> Probe:
    if isinstance(target, Probe):
        return target if client is None else target.through(client)
    return Probe(target, client=client if isinstance(target, str) else None)


def checked_client(given: object) -> APIClient | None:
    """A client to ask through, or none.

    Raises:
        ConfigurationError: It is something else, such as a URL or a class.
    """
    if given is None or (hasattr(given, "explain") and not isinstance(given, type)):
        return cast("APIClient | None", given)
    kind = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
    raise ConfigurationError(f"client is {kind}; give an APIClient, or leave it out")


def _body_check(given: BodyCheck | None) -> BodyCheck | None:
    of_bytes = isinstance(given, re.Pattern) and not isinstance(given.pattern, str)
    if given is None or isinstance(given, str) or (not of_bytes and (isinstance(given, re.Pattern) or callable(given))):
        return given
    raise ConfigurationError(
        f"expect_body is {type(given).__name__}; give a text, a compiled pattern of text, or a function of the Response"
    )


def _statuses(given: int | Collection[int]) -> Collection[int]:
    expected = (given,) if isinstance(given, int) else given
    if isinstance(expected, Collection) and expected and all(_is_status(one) for one in expected):
        return expected if isinstance(expected, range) else frozenset(expected)
    raise ConfigurationError(
        f"expect_status is {given!r:.80}; give a status such as 200, or several: {{200, 404}} or range(200, 300)"
    )


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 599


def _tags(given: Mapping[str, str] | None) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, Mapping) and all(isinstance(text, str) for pair in given.items() for text in pair):
        return dict(given)
    raise ConfigurationError(f"tags is of type {type(given).__name__}; give a mapping of texts to texts")


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"the name of a target is {name!r:.80}; give a text that is not empty")
    return redact_text(name, 120)
