"""An upstream, described: how it serves, how much it can take, what befalls it, and whom it calls itself.

``server`` brings it to life. One with ``calls`` is a layer of its own: for each request it calls further upstreams,
through real clients with real policies.
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
"""Names are hosts: small letters, digits and dashes."""


class Reply:
    """An answer of a handler that is more than a status."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers or {}


class Visit:
    """A request in the hands of a handler.

    Attributes:
        request: As the client's chain made it.
        clients: The clients of this replica, by the names of the upstreams they call.
        rng: The source of chance of this replica.
        replica: Its number, from 0.
    """

    __slots__ = ("clients", "replica", "request", "rng")

    def __init__(self, request: Request, clients: Mapping[str, APIClient], rng: Random, replica: int) -> None:
        self.request = request
        self.clients = clients
        self.rng = rng
        self.replica = replica


Handler: TypeAlias = Callable[[Visit], Awaitable[int | Reply | None]]
"""What an upstream does, in your own words: awaits what it likes, gives a status (``None``: 200) or a ``Reply``."""


class Upstream(Settings):
    """Something that is called. Every request waits for a free server, takes its service time, and is answered."""

    name: Name
    """Its host: ``http://name`` is where clients find it."""
    servers: Annotated[int, Field(ge=1)] | None = None
    """Requests served at once by each replica (threads, workers, connections); ``None``: any number."""
    queue: Annotated[int, Field(ge=0)] | None = None
    """Requests that may wait for a server; one more is answered 503 at once. ``None``: any number."""
    service: Distribution = Constant(seconds=0.05)
    """How long a server is busy with a request: a law, seconds, or a function ``(rng, in_flight) -> seconds``."""
    replicas: Annotated[int, Field(ge=1)] = 1
    """Copies behind one address; each request goes to one by chance."""
    error_rate: Ratio = 0.0
    """The share of requests that fail, after the usual time."""
    error_status: Status = 503
    """What they are answered."""
    retry_after: Seconds | None = None
    """What a ``Retry-After`` header says with every 503 of its own; ``None``: there is none."""
    keeps_working: bool = True
    """Whether it goes on with a request whose client has left, as most servers do: they do not notice."""
    changes: tuple[Change, ...] = ()
    """What befalls it in the course of the run."""
    calls: tuple[Name, ...] = ()
    """The upstreams it calls for each request, one after the other; if one fails, so does the request, with
    ``error_status``. A server is busy until all have answered."""
    config: ClientConfig = Field(default_factory=ClientConfig)
    """The settings of its own clients: one for each replica and upstream in ``calls``."""
    client: Callable[..., APIClient] = APIClient
    """What makes its clients, called with the arguments of ``APIClient``; for middlewares and auth of your own."""
    handler: Callable[[Visit], Any] | None = None
    """What a server does after the service time: a ``Handler`` of your own instead of calling all ``calls``."""
