"""The README and the docs are complete, correct and plainly written, and their links resolve."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined
from tests.docs.pages import PAGES, ROOT, anchors, headings, links, name_of, rows, sentences

import resilient_client
import resilient_client.errors
from resilient_client import (
    AdaptiveConcurrency,
    Backoff,
    Bulkhead,
    CircuitBreaker,
    ClientConfig,
    ConnectionSettings,
    HealthCheck,
    Hedging,
    LoadBalancing,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
)
from resilient_client._call import stream
from resilient_client._client.fan_out import FanOut
from resilient_client._core import cache, events, models
from resilient_client._middleware.hedging import middleware as hedging
from resilient_client._policies.balancing import balancer, endpoint_pool, outlier_ejection, peak_ewma
from resilient_client._policies.circuit import circuit
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._policies.hedging import budget as hedge_budget
from resilient_client._policies.hedging import latency_histogram, route, rules
from resilient_client._policies.registry import Registry
from resilient_client._policies.retry import budget as retry_budget
from resilient_client._policies.retry import retry_after
from resilient_client._settings.base import Settings
from resilient_client._transport import decoding, response_body
from resilient_client.health import _check as check
from resilient_client.telemetry import LoopMonitor, _lateness, _loop_monitor
from resilient_client.telemetry import _repeats as repeats

DOCS = ROOT / "docs"
PATTERNS = [
    DOCS / f"{name}.md"
    for name in (
        *("deadline", "retry", "circuit-breaker", "bulkhead", "rate-limit", "hedging", "fallback", "coalescing"),
        *("auth", "connections", "fan-out"),
        *("health-probes", "endpoints"),
    )
]
PATTERN_HEADINGS = ["What for", "Usage", "Defaults", "Events", "Sequence", "Do not"]
SETTINGS = (
    Timeout,
    Retry,
    Backoff,
    RetryBudget,
    CircuitBreaker,
    Bulkhead,
    AdaptiveConcurrency,
    RateLimit,
    LoadBalancing,
    HealthCheck,
    Hedging,
    ConnectionSettings,
    ClientConfig,
)

PLAIN = [
    *(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CHANGELOG", "CONTRIBUTING")),
    *(DOCS / f"{name}.md" for name in ("index", "quickstart", "glossary", "errors", "middleware", "architecture")),
    *(DOCS / f"{name}.md" for name in ("connections", "coalescing", "fallback", "defaults", "deadline", "logging")),
]
"""The pages whose prose is checked for semicolons and internal paths."""
INSIDE = {ROOT / "CONTRIBUTING.md", DOCS / "architecture.md"}
"""The pages for contributors, which may name internal modules."""
MAX_SEMICOLONS = 4  # per 1,000 words

FUNCTIONS = {
    FanOut.gather: "concurrency timeout successes stop_on_failure on_outcome progress",
    FanOut.as_completed: "concurrency timeout ordered",
    resilient_client.probe: "timeout concurrency",
    resilient_client.Prober: "rise fall max_age",
    LoopMonitor: "clients interval late_after long_call listener",
    resilient_client.Probe: "critical slow certificate_days",
}

FIXED = {
    "body read by a health check": check.MAX_BODY_UNJUDGED,
    "body judged by a health check": check.MAX_BODY_JUDGED,
    "errors of a model are all collected": models.ALL_ERRORS_UP_TO,
    "line of `iter_lines`": stream.MAX_LINE,
    "body kept of an error reply": response_body.ERROR_BODY_LIMIT,
    "time limit for the body of an error reply": response_body.ERROR_BODY_TIMEOUT,
    "content codings of one body": decoding._MAX_CODINGS,
    "tokens of a retry": retry_budget.RETRY_COST,
    "tokens of a retry after a timeout": retry_budget.TIMEOUT_COST,
    "jitter upward on `Retry-After`": retry_after.MAX_JITTER_RATIO,
    "jitter upward on a break": circuit._JITTER,
    "hedges at the start": hedge_budget.INITIAL_TOKENS,
    "what is left of a late attempt, for a hedge": route.MIN_GAIN,
    "late attempts that end hedging": hedge_budget.CONGESTION,
    "shortest delay of a hedge": rules.MIN_DELAY,
    "samples before a percentile is known": latency_histogram.MIN_SAMPLES,
    "routes whose latencies are kept": hedging._ROUTES,
    "bulkheads and rate limits of a client": inspect.signature(Registry).parameters["limit"].default,
    "jitter upward on an ejection": outlier_ejection._JITTER,
    "share with which a slow start begins": outlier_ejection.MIN_WEIGHT,
    "latency from which an endpoint is a last resort": balancer.LAST_RESORT_RATIO,
    "cost of a failure to the load of an endpoint": endpoint_pool.FAILURE_COST,
    "replies before an endpoint is ejected as slow": peak_ewma.MIN_REPLIES,
    "replies of which the median is taken": peak_ewma.RECENT_REPLIES,
    "URLs, and paths with placeholders, that a client remembers": cache.MAX_ENTRIES,
    "bytes of the URLs that a client remembers": cache.MAX_BYTES,
    "equal log records at once": repeats.BURST,
    "time in which as many more are logged": repeats.PERIOD,
    "kinds of log records that are told apart": repeats.MAX_KINDS,
    "places that a loop monitor keeps": _lateness.MAX_PLACES,
    "pause between two warnings about one place": _lateness.LOG_EVERY,
    "calls that a loop monitor lists": _loop_monitor.MAX_CALLS,
    "circuits of a client": inspect.signature(Circuits).parameters["limit"].default,
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_project_resolve(page: Path) -> None:
    """Every link to a file or a heading of this project resolves."""
    assert [link for link in links(page) if "://" not in link and not _resolves(page, link)] == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent == DOCS and p.name != "index.md"], ids=name_of)
def test_page_is_linked_from_the_index(page: Path) -> None:
    """The index links every page of the docs."""
    assert page.name in links(DOCS / "index.md")


@pytest.mark.parametrize("page", PATTERNS, ids=name_of)
def test_pattern_pages_have_the_same_headings(page: Path) -> None:
    """All pages of patterns have the same headings in the same order."""
    assert [heading for heading in headings(page) if heading in PATTERN_HEADINGS] == PATTERN_HEADINGS


@pytest.mark.parametrize("name", [name for name in resilient_client.__all__ if not name.startswith("__")])
def test_public_names_are_mentioned(name: str) -> None:
    """Every public name appears in the README or the docs."""
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in PAGES)


def test_event_table_is_complete() -> None:
    """The table of events lists every event with the fields it adds to its base class."""
    bases = (events.Event, events.CallEvent, events.CircuitEvent)
    kinds = [e for e in vars(events).values() if inspect.isclass(e) and issubclass(e, events.Event) and e not in bases]
    common = set(inspect.signature(events.CallEvent).parameters)
    listed = {cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[2])) for cells in rows(DOCS / "middleware.md")[2:]}
    assert listed == {kind.__name__: set(inspect.signature(kind).parameters) - common for kind in kinds}


@pytest.mark.parametrize(("enum", "column"), [(resilient_client.ErrorKind, 6), (resilient_client.Stage, 3)])
def test_tables_of_kinds_and_stages_are_complete(enum: type[resilient_client.ErrorKind], column: int) -> None:
    """The tables of kinds and stages list every member, in order."""
    listed = [cells[0].strip("`") for cells in rows(DOCS / "errors.md") if len(cells) == column]
    assert [name for name in listed if name.isupper()] == [member.name for member in enum]


@pytest.mark.parametrize(
    "text", [(DOCS / "errors.md").read_text(), str(resilient_client.errors.__doc__)], ids=["errors.md", "errors.py"]
)
def test_error_tree_is_that_of_the_classes(text: str) -> None:
    """The drawn tree names every error class below its base class, on the page and in the docstring."""
    drawn = re.findall(r"^([│├└─ ]*)(\w+Error)\b", text[: text.index("LocalRateLimitError") + 20], re.MULTILINE)
    margin = len(drawn[0][0])
    path: list[type] = []
    for branch, name in drawn:
        error = getattr(resilient_client.errors, name)
        path[(len(branch) - margin) // 4 :] = [error]
        public = [base for base in error.__mro__ if base.__name__ in resilient_client.errors.__all__]
        assert path == public[::-1]
    assert {name for _, name in drawn} == set(resilient_client.errors.__all__) - {"ErrorKind", "Stage"}


def test_table_of_stages_has_maybe_processed() -> None:
    """The last column of the table of stages is ``Stage.maybe_processed``."""
    listed = {cells[0].strip("`"): cells[2] for cells in rows(DOCS / "errors.md") if len(cells) == 3}
    for stage in resilient_client.Stage:
        assert listed[stage.name] == ("yes" if stage.maybe_processed else "no")


def test_table_of_defaults_matches_the_settings() -> None:
    """The table lists every field of the settings classes and the listed parameters, with their defaults."""
    expected = {f"{kind.__name__}.{field}": value for kind in SETTINGS for field, value in _defaults(kind).items()}
    expected |= {
        f"{function.__name__}({name})": inspect.signature(function).parameters[name].default
        for function, names in FUNCTIONS.items()
        for name in names.split()
    }
    listed = {cells[0].strip("`"): cells[1] for cells in rows(DOCS / "defaults.md") if cells[0].startswith("`")}
    assert {name: ast.literal_eval(value.strip("`")) for name, value in listed.items()} == expected


def test_table_of_layers_matches_the_contract() -> None:
    """The table of layers is the contract that import-linter enforces, from top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    table = rows(DOCS / "architecture.md")
    listed = [sorted(re.findall(r"`(\w+)`", cells[0])) for cells in table if cells[0].startswith("`")]
    assert listed == [sorted(re.findall(r"resilient_client\.(\w+)", layer)) for layer in layers]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_named_on_a_page_exist(page: Path) -> None:
    """A name such as ``Timeout.total`` on a page is a field of that class."""
    fields = {kind.__name__: kind.model_fields for kind in SETTINGS}
    named = re.findall(rf"\b({'|'.join(fields)})\.(\w+)", page.read_text())
    assert [f"{kind}.{field}" for kind, field in named if field not in fields[kind]] == []


@pytest.mark.parametrize("page", [page for page in PLAIN if page not in INSIDE], ids=name_of)
def test_page_names_no_internal_module(page: Path) -> None:
    """Users import from public modules only, so a page for users never names a module with an underscore."""
    assert re.findall(r"\bresilient_client(?:\.\w+)*\._\w+", page.read_text()) == []


@pytest.mark.parametrize("page", PLAIN, ids=name_of)
def test_page_has_few_semicolons(page: Path) -> None:
    """Prose has one idea per sentence: at most 4 semicolons per 1,000 words. One is allowed on a short page."""
    text = sentences(page)
    words = len(re.findall(r"[A-Za-z']+", text))
    assert text.count(";") <= max(1, MAX_SEMICOLONS * words / 1000)


def test_files_named_by_the_architecture_exist() -> None:
    """Every path of a module on the page of the architecture exists."""
    source = ROOT / "src" / "resilient_client"
    named = set(re.findall(r"`(_\w+/(?:\w+/)*\w+\.py)`", (DOCS / "architecture.md").read_text()))
    assert {name for name in named if not (source / name).exists()} == set()


def test_table_of_fixed_values_matches_the_code() -> None:
    """The fixed values on the page of defaults are the constants of the code."""
    listed = {cells[0]: cells[1] for cells in rows(DOCS / "defaults.md") if cells[0] in FIXED}
    assert {name: ast.literal_eval(value.strip("`")) for name, value in listed.items()} == FIXED


def _resolves(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    return target.exists() and (not anchor or anchor in anchors(target))


def _defaults(kind: type[Settings]) -> dict[str, object]:
    """Return the fields of a settings class with their defaults, without fields that are settings themselves."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in kind.model_fields.items()}
    defaults = {name: ... if value is PydanticUndefined else value for name, value in defaults.items()}  # required
    return {name: value for name, value in defaults.items() if not isinstance(value, Settings)}
