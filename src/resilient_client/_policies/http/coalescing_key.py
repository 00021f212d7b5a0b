"""Which calls are alike: those whose one answer may serve them all.

Says too little rather than too much: what it does not know to be harmless makes two calls different. It looks at
requests as they come out of the caller's own middlewares, and never at what happens to them afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable
from operator import itemgetter
from typing import Any

from resilient_client._core.request import Request

_METHODS = frozenset({"GET", "HEAD"})
_SETTLED = frozenset(
    {
        *("params", "path_params", "headers", "idempotency_key"),  # stand in the request by now
        *("timeout", "retry", "hedging", "priority"),  # resolved, and compared as such
        *("raise_for_status", "fallback", "coalesce", "idempotent"),  # of the edge, each caller's own, or ruled out
    }
)


def flight_key(request: Request) -> Hashable | None:
    """What is equal for two calls exactly if they may share one flight; ``None``: this one shares none.

    Only GET and HEAD without a body, read as a whole, and not declared to be other than idempotent. Equal must be the
    client, method, URL and path as written, all headers (whatever their case; the order of one that repeats
    counts), the settings of retry, hedging and timeouts but for ``total``, the priority, and every other option, such
    as the tags: inner links may look at them.
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
        context.settings.priority,  # or a user would wait in the queue of a batch
        tuple(sorted((name, _frozen(value)) for name, value in context.call.given.items() if name not in _SETTLED)),
    )
    try:
        hash(key)
    except TypeError:
        return None  # something in it cannot be compared
    return key


def _frozen(value: Any) -> Any:
    return frozenset(value.items()) if isinstance(value, dict) else value
