"""What users import: which names there are, that each is what it says, and what importing loads."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import resilient_client
import resilient_client.simulation
import resilient_client.testing

PUBLIC = """
APIClient APIConnectionError APIError APIKeyAuth APIResponseValidationError APIStatusError APITimeoutError
AdaptiveConcurrency AttemptRecord Auth AuthenticationError Backoff BadRequestError BasicAuth BearerAuth Bulkhead
BulkheadFullError Call CallCancelledError CallOptions CallRejectedError Certificate Circuit CircuitBreaker
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
CallTally Callers Capacity ClosedLoop Constant DEFAULT Errors Exponential Herd LawBrokenError LoadDependent Lognormal
Mixture NAIVE NONE Network Outage Poisson RateChange Reply Run Scenario ScenarioFile Share Slowdown Stall Steady Totals
Transition Upstream UpstreamTally Visit read_scenario ready_scenario simulate
"""
EXTRAS = {
    "aioresponses",
    "backports.zstd",
    "brotli",
    "fastapi",
    "matplotlib",
    "pytest",
    "rich",
    "starlette",
    "tqdm",
    "typer",
    "uvloop",
}

each_module = pytest.mark.parametrize(
    ("module", "names"),
    [
        (resilient_client, PUBLIC.split()),
        (resilient_client.testing, TESTING.split()),
        (resilient_client.simulation, SIMULATION.split()),
    ],
    ids=["resilient_client", "testing", "simulation"],
)


def loaded_by(code: str) -> set[str]:
    """The names of all modules that are loaded after ``code`` ran in a fresh interpreter."""
    shown = subprocess.run(  # noqa: S603 -- our own interpreter on our own code
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(shown.stdout.split())


@each_module
def test_names_are_exactly_the_agreed_ones(module: ModuleType, names: list[str]) -> None:
    """A public name comes or goes knowingly: this list changes with it, and so does the changelog."""
    assert sorted(module.__all__) == sorted(names)


@each_module
def test_names_all_load_and_are_listed(module: ModuleType, names: list[str]) -> None:
    """Every name can be had, and ``dir`` shows it."""
    assert [name for name in names if getattr(module, name, None) is None] == []
    assert set(names) <= set(dir(module))


@each_module
def test_names_match_type_checkers(module: ModuleType, names: list[str]) -> None:
    """What type checkers import under TYPE_CHECKING is the very object that is loaded lazily."""
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
def test_misspelt_name_raises_attribute_error(module: ModuleType, names: list[str]) -> None:
    """A name that is not there is an ``AttributeError``, as with any module."""
    with pytest.raises(AttributeError, match="has no attribute 'APIClent'"):
        module.APIClent  # noqa: B018 -- the access is the test


@pytest.mark.parametrize("module", ["resilient_client", "resilient_client.testing", "resilient_client.simulation"])
def test_star_import_gives_every_public_name(module: str) -> None:
    """Lazy loading does not show: ``import *`` gives all."""
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)  # noqa: S102 -- a star import is only allowed at the top of a module
    assert set(importlib.import_module(module).__all__) <= set(names)


def test_import_of_package_loads_nothing() -> None:
    """``import resilient_client`` alone is free: neither our modules nor what they stand on."""
    loaded = loaded_by("import resilient_client")
    ours = {name for name in loaded if name.startswith("resilient_client")}
    assert ours == {"resilient_client", "resilient_client._version"}
    assert loaded.isdisjoint({"aiohttp", "asyncio", "pydantic", "tenacity"})


def test_import_of_all_names_loads_no_extra() -> None:
    """Extras are loaded when used. Test tools and the CLI are never loaded with the client."""
    needed = loaded_by("import aiohttp, pydantic, tenacity")  # aiohttp loads brotli where it is installed
    loaded = loaded_by("from resilient_client import *") - needed
    assert "resilient_client._client.client" in loaded
    assert loaded.isdisjoint(EXTRAS)
    assert not any(name.startswith(("resilient_client.testing", "resilient_client.simulation")) for name in loaded)


def test_import_of_all_names_reads_no_source() -> None:
    """Nothing parses sources at import (pydantic's attribute docstrings do: half of our time once went there)."""
    code = "import inspect\ndef refuse(*_): raise AssertionError('source read')\ninspect.getsourcelines = refuse\n"
    code += "inspect.findsource = refuse\ninspect.getsource = refuse\n"
    assert "resilient_client._client.client" in loaded_by(code + "from resilient_client import *")
