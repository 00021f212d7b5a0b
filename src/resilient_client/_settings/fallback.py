"""What a call returns in place of an answer that could not be obtained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, cast

from resilient_client._core.call import Call
from resilient_client._core.errors import APIError, ConfigurationError
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.validation import accepts, discard, shorten

FallbackSource: TypeAlias = "Call[object] | Callable[[APIError], object] | object"
"""The source of a fallback. A function may be async."""

NO_ANSWER: Final = frozenset(
    {
        ErrorKind.DNS,
        ErrorKind.CONNECT,
        ErrorKind.TLS,
        ErrorKind.POOL,
        ErrorKind.TIMEOUT,
        ErrorKind.DEADLINE,
        ErrorKind.DISCONNECTED,
        ErrorKind.PROTOCOL,
        ErrorKind.THROTTLED,
        ErrorKind.SERVER_ERROR,
        ErrorKind.CIRCUIT_OPEN,
        ErrorKind.REJECTED,
    }
)
"""The kinds that mean that the upstream could not be reached or could not serve, rather than a mistake in a request."""


class Fallback:
    """What to return in place of an error. Frozen by convention. Many clients and calls may share it.

    The source is one of three. A ``Call`` is sent in the time that is left until the deadline. A function, sync or
    async, is called with the error, and its result is returned. Any other object is returned as it is: neither decoded
    nor copied, the same one for all calls. The result should be of the type that the call returns.

    Attributes:
        source: The source.
        kinds: The kinds of error that the fallback replaces.
    """

    __slots__ = ("kinds", "source")

    def __init__(self, source: FallbackSource, /, *, kinds: Iterable[ErrorKind] = NO_ANSWER) -> None:
        """Create a fallback.

        Args:
            source: A value, a function that takes the ``APIError``, or a ``Call``.
            kinds: The kinds of error that are replaced. By default those where the upstream could not be reached or
                could not serve. A mistake of either side, such as ``CLIENT_ERROR`` or ``INVALID_RESPONSE``, is replaced
                only if it is named.

        Raises:
            ConfigurationError: The source cannot be used, or there are no kinds.
        """
        _check(source)
        self.source: object = source
        self.kinds = _checked_kinds(kinds)

    def __repr__(self) -> str:
        source = self.source
        description = f"a {type(source).__name__}"  # never the value itself, which may be secret
        if isinstance(source, Call):
            description = repr(source)
        elif callable(source):
            description = f"{getattr(source, '__qualname__', type(source).__qualname__)}()"
        kinds = "" if self.kinds == NO_ANSWER else f" for {' '.join(sorted(self.kinds))}"
        return f"<Fallback to {description}{kinds}>"


def _check(source: object) -> None:
    what = "a value, a function of the error such as lambda error: [], or a Call"
    if isinstance(source, type):
        raise ConfigurationError(f"the source of a Fallback is the class {source.__name__}; give {what}")
    if inspect.isawaitable(source):
        discard(source)
        raise ConfigurationError(
            f"the source of a Fallback can be awaited only once; give the function itself, or {what}"
        )
    if isinstance(source, Call):
        if source.given.get("fallback") is not None:
            raise ConfigurationError("the Call of a Fallback has a fallback of its own, which would never be used")
    elif callable(source) and not accepts(source, 1):
        raise ConfigurationError(f"the source of a Fallback cannot be called with the error alone; give {what}")


def _checked_kinds(kinds: Iterable[ErrorKind]) -> frozenset[ErrorKind]:
    given = cast("object", kinds)
    if isinstance(given, Iterable) and not isinstance(given, str):
        try:
            known = frozenset(map(ErrorKind, given))
        except Exception:  # an item is not a kind, or the iterable itself raised
            known = frozenset()
        if known:
            return known
    raise ConfigurationError(
        f"Fallback.kinds is {shorten(given)}; give some of ErrorKind, such as {{ErrorKind.TIMEOUT}}"
    )
