"""Types for annotating your own code: middlewares, transports, credentials, listeners, and functions around a client.

=====================  =================================================================================
to write               annotate with
=====================  =================================================================================
a middleware           ``Middleware``, and ``Handler`` for its ``call_next``
a transport            ``Transport``
credentials            ``Auth``
a listener             ``Listener``
a client's stand-in    ``Runner``, for ``Call(..., client=...)`` and the functions ``gather`` and ``as_completed``
a wrapper of a verb    ``CallOptions`` (``**options: Unpack[CallOptions]``), or the types of single options:
                       ``HeadersLike``, ``QueryParams``, ``Scalar``, ``ContentLike``, ``FormLike``, ``FilesLike``,
                       ``Duration``, ``Priority``, ``FollowRedirects``
an optional setting    ``NotGiven`` with its only value ``NOT_GIVEN``: "not mentioned", where ``None`` means "off"
a helper for streams   ``OutcomeStream``, what ``as_completed`` returns
=====================  =================================================================================
"""

from resilient_client._core.body import ContentLike, FilesLike, FormLike
from resilient_client._core.call import CallOptions
from resilient_client._core.listeners import Listener
from resilient_client._core.protocols import Auth, Handler, Middleware, Runner, Transport
from resilient_client._core.types import NOT_GIVEN, Duration, HeadersLike, NotGiven, Priority, QueryParams, Scalar
from resilient_client._fanout import OutcomeStream
from resilient_client._settings.config import FollowRedirects

__all__ = [
    "NOT_GIVEN",
    "Auth",
    "CallOptions",
    "ContentLike",
    "Duration",
    "FilesLike",
    "FollowRedirects",
    "FormLike",
    "Handler",
    "HeadersLike",
    "Listener",
    "Middleware",
    "NotGiven",
    "OutcomeStream",
    "Priority",
    "QueryParams",
    "Runner",
    "Scalar",
    "Transport",
]
