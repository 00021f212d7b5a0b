"""The public names: their list, the objects that they refer to, and the modules that importing them loads."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import resilient_client
import resilient_client.errors
import resilient_client.events
import resilient_client.simulation
import resilient_client.telemetry
import resilient_client.testing
import resilient_client.typing
from resilient_client._core import errors as core_errors

PUBLIC = """
APIClient APIConnectionError APIError APIKeyAuth APIResponseValidationError APIStatusError APITimeoutError
AdaptiveConcurrency AttemptRecord Auth AuthenticationError Backoff BadRequestError BasicAuth BearerAuth Bulkhead
BulkheadFullError Call CallCancelledError CallInFlight CallOptions CallRejectedError Certificate Circuit CircuitBreaker
CircuitOpenError CircuitState ClientClosedError ClientConfig ConfigurationError ConflictError ConnectionSettings
DeadlineExceededError Endpoint EndpointState ErrorKind Failure Fallback GatherResult Handler HealthCheck HealthReport
HealthState Hedging InternalServerError InvalidRequestError LoadBalancing LocalRateLimitError Middleware
MissingExtraError NotFoundError OAuth2ClientCredentials Outcome PermissionDeniedError Permits Probe ProbeResult Prober
RateLimit RateLimitError RedirectError Request RequestInfo ResilientClientError Response ResponseTooLargeError Retry
RetryBudget RetryTokens Stage StreamResponse Success Timeout Timings Token Transport UnprocessableEntityError
WrongLoopError __version__ as_completed deadline gather probe resolve_dns
"""
TESTING = """
DeadlockError FaultServer MockRequest MockUpstream ReceivedRequest VirtualTimeLoop assert_no_leaks black_hole fail
faults install_aioresponses_compat record_events refused_url reply run_virtual
"""
SIMULATION = """
CallStats Callers Capacity ClosedLoop Constant DEFAULT Errors Exponential Herd InvariantBrokenError LoadDependent
Lognormal Mixture NAIVE NONE Network Outage Poisson RateChange Reply Run Scenario ScenarioFile Share Slowdown Stall
Steady Totals Transition Upstream UpstreamStats Visit read_scenario ready_scenario simulate
"""
TELEMETRY = """
BlockedPlace CodePlace HistogramSnapshot JSONFormatter LoopEvent LoopHealth LoopMonitor LoopWasLate LostTasks TaskLost
"""
ERRORS = """
APIConnectionError APIError APIResponseValidationError APIStatusError APITimeoutError AuthenticationError
BadRequestError BulkheadFullError CallCancelledError CallRejectedError CircuitOpenError ClientClosedError
ConfigurationError ConflictError DeadlineExceededError ErrorKind InternalServerError InvalidRequestError
LocalRateLimitError MissingExtraError NotFoundError PermissionDeniedError RateLimitError RedirectError
ResilientClientError ResponseTooLargeError Stage UnprocessableEntityError WrongLoopError
"""
TYPING = """
Auth CallOptions ContentLike Duration FilesLike FollowRedirects FormLike Handler HeadersLike Listener Middleware
NOT_GIVEN NotGiven OutcomeStream Priority QueryParams Runner Scalar Transport
"""
EXTRAS = {
    "aioresponses",
    "backports.zstd",
    "brotli",
    "fastapi",
    "matplotlib",
    "opentelemetry",
    "pytest",
    "rich",
    "starlette",
    "tqdm",
    "typer",
    "uvloop",
}

UNLOADED = ("resilient_client.testing", "resilient_client.simulation", "resilient_client.telemetry._loop_monitor")
"""What the client itself never loads."""
FACADES = [resilient_client.errors, resilient_client.events, resilient_client.typing]

each_module = pytest.mark.parametrize(
    ("module", "names"),
    [
        (resilient_client, PUBLIC.split()),
        (resilient_client.testing, TESTING.split()),
        (resilient_client.simulation, SIMULATION.split()),
        (resilient_client.telemetry, TELEMETRY.split()),
    ],
    ids=["resilient_client", "testing", "simulation", "telemetry"],
)


each_facade = pytest.mark.parametrize("module", FACADES, ids=lambda module: module.__name__.rpartition(".")[2])


def loaded_by(code: str) -> set[str]:
    """Return the names of all modules loaded after ``code`` ran in a fresh interpreter."""
    completed = subprocess.run(  # noqa: S603 -- our own interpreter on our own code
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(completed.stdout.split())


@each_module
def test_public_names_are_the_agreed_ones(module: ModuleType, names: list[str]) -> None:
    """A public name is added or removed only together with this list, and with a line in the changelog."""
    assert sorted(module.__all__) == sorted(names)


@pytest.mark.parametrize(
    ("module", "names"),
    [(resilient_client.errors, ERRORS.split()), (resilient_client.typing, TYPING.split())],
    ids=["errors", "typing"],
)
def test_facade_names_are_the_agreed_ones(module: ModuleType, names: list[str]) -> None:
    """A facade module exports exactly its list, and everything it exports exists."""
    assert sorted(module.__all__) == sorted(names)
    assert [name for name in names if not hasattr(module, name)] == []


@each_facade
def test_facade_names_are_the_top_level_objects(module: ModuleType) -> None:
    """A name that both a facade and the package export is one object, whichever way it is imported."""
    shared = set(module.__all__) & set(resilient_client.__all__)
    assert [name for name in shared if getattr(module, name) is not getattr(resilient_client, name)] == []


def test_errors_facade_has_every_error_class() -> None:
    """A new public error class cannot be forgotten in ``resilient_client.errors``."""
    defined = {name for name, value in vars(core_errors).items() if inspect.isclass(value) and not name.startswith("_")}
    assert {name for name in defined if name.endswith("Error")} <= set(resilient_client.errors.__all__)


@pytest.mark.parametrize("module", [resilient_client, *FACADES], ids=lambda module: module.__name__)
def test_public_docstrings_name_no_internal_module(module: ModuleType) -> None:
    """The docstrings of public classes, functions and their public methods refer to public modules only."""
    documented = [getattr(module, name) for name in module.__all__]
    documented += [
        member
        for value in documented
        if inspect.isclass(value)
        for name, member in inspect.getmembers(value)
        if not name.startswith("_") and callable(member)
    ]
    internal = re.compile(r"``_[a-z]\w*\.|resilient_client\._")
    assert [value for value in documented if internal.search(inspect.getdoc(value) or "")] == []


@each_module
def test_public_names_all_load_and_are_listed(module: ModuleType, names: list[str]) -> None:
    """Every name can be loaded, and ``dir`` lists it."""
    assert [name for name in names if getattr(module, name, None) is None] == []
    assert set(names) <= set(dir(module))


@each_module
def test_public_names_for_type_checkers_match_run_time(module: ModuleType, names: list[str]) -> None:
    """The names imported under TYPE_CHECKING are the same objects as those loaded lazily."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in imports
        if node.module is not None and node.module.startswith("resilient_client")
        for alias in node.names
    }
    assert sorted(seen) == sorted(names)
    assert all(getattr(module, name) is thing for name, thing in seen.items())


@each_module
def test_public_names_misspelt_raise_attribute_error(module: ModuleType, names: list[str]) -> None:
    """A name that does not exist raises ``AttributeError``, as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'APIClent'"):
        module.APIClent  # noqa: B018 -- the access is the test


@pytest.mark.parametrize(
    "module", ["resilient_client", *(f"resilient_client.{name}" for name in ("testing", "simulation", "telemetry"))]
)
def test_star_import_gives_every_public_name(module: str) -> None:
    """``import *`` gives every public name, although names are loaded lazily."""
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)  # noqa: S102 -- a star import is only allowed at the top of a module
    assert set(importlib.import_module(module).__all__) <= set(names)


def test_import_of_package_loads_nothing_else() -> None:
    """``import resilient_client`` alone loads neither our modules nor our dependencies."""
    loaded = loaded_by("import resilient_client")
    ours = {name for name in loaded if name.startswith("resilient_client")}
    assert ours == {"resilient_client", "resilient_client._version"}
    assert loaded.isdisjoint({"aiohttp", "asyncio", "pydantic", "tenacity"})


def test_import_of_all_names_loads_no_extra() -> None:
    """Extras are loaded when they are used. The client never loads the testing package, the simulation or the CLI."""
    needed = loaded_by("import aiohttp, pydantic, tenacity")  # aiohttp loads brotli where it is installed
    loaded = loaded_by("from resilient_client import *") - needed
    assert "resilient_client._client.client" in loaded
    assert loaded.isdisjoint(EXTRAS)
    assert not any(name.startswith(UNLOADED) for name in loaded)


def test_import_of_all_names_reads_no_source() -> None:
    """Importing parses no source code: pydantic's attribute docstrings would, and once took half of our import time."""
    code = "import inspect\ndef refuse(*_): raise AssertionError('source read')\ninspect.getsourcelines = refuse\n"
    code += "inspect.findsource = refuse\ninspect.getsource = refuse\n"
    assert "resilient_client._client.client" in loaded_by(code + "from resilient_client import *")
