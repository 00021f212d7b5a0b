"""The description of an upstream: how it serves, its capacity, what goes wrong, and which upstreams it calls.

``server`` and ``replica`` run it. An upstream with ``calls`` is a service of its own: for each request it calls further
upstreams, through real clients with real policies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from resilient_client._client.client import APIClient
from resilient_client._core.request import Request
from resilient_client._settings.base import Ratio, Seconds, Settings
from resilient_client._settings.config import ClientConfig
from resilient_client.simulation._changes import Change, Status
from resilient_client.simulation._distributions import Constant, Distribution

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""A name is used as a host: at most 40 lower-case letters, digits and dashes, the first of them a letter."""


class Reply:
    """The answer of a handler, where it is more than a status."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers or {}


class Visit:
    """The argument of a handler: a request, and what the handler may use.

    Attributes:
        request: The request as the client's chain sent it.
        clients: The clients of this replica, by the names of the upstreams they call.
        rng: The random generator of this replica.
        replica: The number of the replica, counted from 0.
    """

    __slots__ = ("clients", "replica", "request", "rng")

    def __init__(self, request: Request, clients: Mapping[str, APIClient], rng: Random, replica: int) -> None:
        self.request = request
        self.clients = clients
        self.rng = rng
        self.replica = replica


Handler: TypeAlias = Callable[[Visit], Awaitable[int | Reply | None]]
"""The custom behaviour of an upstream: a coroutine function that returns a status (``None``: 200) or a ``Reply``."""


class Upstream(Settings):
    """A called service. Each request waits for a free server, takes its service time, and is answered."""

    name: Name
    """Its name, which is also its host: clients reach it at ``http://name``."""
    servers: Annotated[int, Field(ge=1)] | None = None
    """Requests that each replica serves at once (threads, workers, connections). ``None``: any number."""
    queue: Annotated[int, Field(ge=0)] | None = None
    """Requests that may wait for a server in each replica; a further one is answered 503 at once. ``None``: any
    number."""
    service: Distribution = Constant(seconds=0.05)
    """How long a server works on a request: a distribution, seconds, or a function ``(rng, in_flight) -> seconds``."""
    replicas: Annotated[int, Field(ge=1)] = 1
    """Copies behind one address. Each request goes to one of them, chosen at random."""
    error_rate: Ratio = 0.0
    """The share of requests that fail, after the usual service time."""
    error_status: Status = 503
    """The status of the answers to these requests."""
    retry_after: Seconds | None = None
    """The value of the ``Retry-After`` header of its own 503 answers. ``None``: no header."""
    keeps_working: bool = True
    """Whether it continues with a request after the client has left. Most servers do: they do not notice."""
    changes: tuple[Change, ...] = ()
    """Faults and other changes in the course of the run."""
    calls: tuple[Name, ...] = ()
    """The upstreams that it calls for each request, one after the other. If one of them fails, the request is
    answered 503. A server is busy until all have answered."""
    config: ClientConfig = Field(default_factory=ClientConfig)
    """The settings of its own clients: one per replica and upstream in ``calls``."""
    client: Callable[..., APIClient] = APIClient
    """Makes its clients. It is called with the arguments of ``APIClient``, and may add middlewares or auth."""
    handler: Callable[[Visit], Any] | None = None
    """What a server does after the service time: a custom ``Handler``, in place of calling all ``calls``."""
