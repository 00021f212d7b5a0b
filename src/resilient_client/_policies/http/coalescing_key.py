"""Which calls are equal, so that one answer may serve all of them.

The comparison is conservative: any difference that is not known to be harmless makes two calls different. It compares
requests as the caller's own middlewares pass them on, and not what happens to them afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable
from operator import itemgetter
from typing import Any

from resilient_client._core.request import Request

_METHODS = frozenset({"GET", "HEAD"})
_SETTLED = frozenset(
    {
        *("params", "path_params", "headers", "idempotency_key"),  # part of the request by now
        *("timeout", "retry", "hedging", "priority"),  # resolved, and compared as such
        *(
            "raise_for_status",
            "fallback",
            "coalesce",
            "idempotent",
        ),  # applied per caller, or excluded
    }
)


def flight_key(request: Request) -> Hashable | None:
    """A key that is equal for two calls exactly if they may share one flight. ``None``: this call shares none.

    Only GET and HEAD calls share a flight, without a body, not streamed, and not declared as other than idempotent.
    These must be equal: the client, the method, the URL and the path as written, all headers (their case does not
    count, but the order of one that repeats does), the settings of retry, hedging and timeouts except ``total``, the
    priority, and every other option, such as the tags, because inner middlewares may read them.
    """
    context = request.context
    if request.method not in _METHODS or request.body is not None or context.streaming or not context.idempotent:
        return None
    key = (
        context.client,
        request.method,
        request.url,
        context.call.path,
        tuple(sorted(((name.lower(), value) for name, value in request.headers.items()), key=itemgetter(0))),
        context.settings.limits.unclipped,
        context.settings.retry,
        context.settings.hedging,
        context.settings.priority,  # or a user's call would wait in the queue for batch calls
        tuple(sorted((name, _frozen(value)) for name, value in context.call.given.items() if name not in _SETTLED)),
    )
    try:
        hash(key)
    except TypeError:
        return None  # an option or header that cannot be compared
    return key


def _frozen(value: Any) -> Any:
    return frozenset(value.items()) if isinstance(value, dict) else value
