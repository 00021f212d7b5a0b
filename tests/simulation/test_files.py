"""Scenarios from TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilient_client import ClientConfig, ConfigurationError, Timeout
from resilient_client.simulation import (
    Callers,
    ClosedLoop,
    Constant,
    Lognormal,
    Mixture,
    Network,
    Outage,
    Poisson,
    RateChange,
    Run,
    Scenario,
    Share,
    Stall,
    Upstream,
    simulate,
)
from resilient_client.simulation._files import parsed_scenario, read_config, read_scenario
from resilient_client.simulation._ready import READY, ready_scenario

WHOLE = """
about = "everything that can be said"
duration = "1m"
seed = 7

[network]
round_trip = { kind = "constant", seconds = "2ms" }

[client]
retry = "off"

[client.timeout]
total = 10

[upstreams.front]
calls = ["db"]
service = 0.01

[upstreams.front.client.timeout]
attempt = "500ms"

[upstreams.db]
servers = 4
queue = 10
keeps_working = false

[upstreams.db.service]
kind = "mixture"
parts = [{ share = 9, of = "10ms" }, { share = 1, of = { kind = "lognormal", median = 1 } }]

[[upstreams.db.changes]]
kind = "outage"
how = "hang"
at = 10
lasting = 5

[[upstreams.db.changes]]
kind = "stall"
at = 30
replica = 0

[callers.shop]
calls = "front"
clients = 3
arrivals = { kind = "poisson", rate = 2, changes = [{ at = 5, lasting = 1, rate = 9 }] }

[callers.batch]
calls = "db"
arrivals = { kind = "closed_loop", workers = 2, pause = "1s" }
method = "PUT"
"""

MINIMAL = "duration = 3\n[upstreams.api]\n[callers.shop]\ncalls = 'api'\n"


def test_file_says_what_the_models_say() -> None:
    """The same names, the same meaning; ``client`` tables are settings, those of all below those of one."""
    file = parsed_scenario(WHOLE, "x.toml", "x")
    base = ClientConfig(retry=None, timeout=Timeout(total=10))
    parts = (Share(share=9, of=0.01), Share(share=1, of=Lognormal(median=1)))
    assert file.about == "everything that can be said"
    assert file.scenario == Scenario(
        name="x",
        duration=60,
        seed=7,
        network=Network(round_trip=Constant(seconds=0.002)),
        upstreams=[
            Upstream(
                name="front",
                calls=["db"],
                service=0.01,
                config=ClientConfig(retry=None, timeout=Timeout(total=10, attempt=0.5)),
            ),
            Upstream(
                name="db",
                servers=4,
                queue=10,
                keeps_working=False,
                service=Mixture(parts=parts),
                changes=[Outage(at=10, lasting=5, how="hang"), Stall(at=30, replica=0)],
                config=base,
            ),
        ],
        callers=[
            Callers(
                name="shop",
                calls="front",
                clients=3,
                arrivals=Poisson(rate=2, changes=[RateChange(at=5, lasting=1, rate=9)]),
                config=base,
            ),
            Callers(name="batch", calls="db", arrivals=ClosedLoop(workers=2, pause=1.0), method="PUT", config=base),
        ],
    )


def test_settings_of_a_group_are_those_it_set() -> None:
    """What is laid over a scenario later, field by field, finds unset what no file set."""
    (shop, _) = parsed_scenario(WHOLE, "x.toml", "x").scenario.callers
    assert shop.config.model_fields_set == {"retry", "timeout"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("duration = = 3", "x.toml is not valid TOML: invalid value (at line 1, column 12)"),
        ("[upstreams.api]\nname = 'x", 'expected "\'" (at line 2, the end of the file)'),
        ("duraton = 3", "x.toml has no key 'duraton'; did you mean 'duration'?"),
        ("about = 3", "x.toml: about is 3; give text"),
        (MINIMAL.replace("duration = 3", ""), "x.toml: Scenario.duration is missing"),
        (MINIMAL.replace("3", "'3 days'"), "x.toml: Scenario.duration is '3 days', but must be a valid number"),
        ("duration = 3", "x.toml: upstreams: there are none; add one, such as [upstreams.shop]"),
        ("duration = 3\n[upstreams.api]", "x.toml: callers: there are none; add one, such as [callers.shop]"),
        ("[upstreams.API]", "x.toml: upstreams.API: a name consists of at most 40 lower-case letters, digits"),
        ("upstreams = 3", "x.toml: upstreams: there are none"),
        ("[upstreams]\napi = 3", "x.toml: upstreams.api is 3; give a table"),
        ("[upstreams.api]\nsevers = 3", "x.toml: upstreams.api has no key 'severs'; did you mean 'servers'?"),
        ("[upstreams.api]\nhandler = 3", "x.toml: upstreams.api has no key 'handler'"),
        ("[upstreams.api]\nservers = 0", "x.toml: upstreams.api: Upstream.servers is 0, but must be greater"),
        ("[upstreams.api]\nservice = '5x'", "Constant.seconds is '5x', but must be a valid number"),
        (
            "[upstreams.api]\nservice = { median = 3 }",
            "x.toml: upstreams.api.service has no kind; allowed are: constant",
        ),
        ("[upstreams.api]\nservice = { kind = 'lognrmal' }", "of the kind 'lognrmal'; did you mean 'lognormal'?"),
        ("[upstreams.api]\nservice = { kind = 'mixture', parts = [{ share = 1, of = { kind = 'x' } }] }", "kind 'x'"),
        (
            "[[upstreams.api.changes]]\nkind = 'outag'",
            "upstreams.api.changes, number 1, is of the kind 'outag'; did you",
        ),
        ("[[upstreams.api.changes]]\nkind = 'outage'", "Outage.at is missing"),
        ("[[upstreams.api.changes]]\nkind = 'outage'\nat = 1\nhow = 'x'", "Outage.how is 'x', but must be 'refuse'"),
        ("[client]\nrety = 3", "x.toml: client: ClientConfig has no setting 'rety'; did you mean 'retry'?"),
        ("[client.retry]\nmax_atempts = 3", "Retry has no setting 'max_atempts'; did you mean 'max_attempts'?"),
        ("[client.retry]\nmax_attempts = 0", "Retry.max_attempts is 0, but must be greater than or equal to 1"),
        ("[client]\nretry = 5", "client: retry is 5; give { max_attempts=3 }, or 'off' for no retries"),
        ("client = 5", "x.toml: client is 5; give a table of settings"),
        ("[network]\nroundtrip = 1", "x.toml: network has no key 'roundtrip'; did you mean 'round_trip'?"),
        (MINIMAL.replace("'api'", "'ap'"), "'shop' calls 'ap', which is not an upstream; there are: api"),
        (MINIMAL + "arrivals = { kind = 'herd', every = 0 }", "Herd.every is 0, but must be greater than 0"),
        (MINIMAL + "arrivals = -1", "Poisson.rate is -1, but must be greater than or equal to 0"),
    ],
)
def test_file_that_cannot_be_says_where_and_what_was_meant(text: str, words: str) -> None:
    """File, table, name, value, what is allowed; in one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        parsed_scenario(text, "x.toml", "x")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_or_no_text_says_so(tmp_path: Path) -> None:
    """Of scenarios and of settings."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path, words in ((tmp_path / "no.toml", "no such file or directory"), (tmp_path / "binary.toml", "byte 0")):
        for read in (read_scenario, read_config):
            with pytest.raises(ConfigurationError, match=words):
                read(path)


def test_file_is_called_as_its_name_says(tmp_path: Path) -> None:
    """There is no other place for a name."""
    (tmp_path / "mine.toml").write_text(MINIMAL)
    assert read_scenario(tmp_path / "mine.toml").scenario.name == "mine"


@pytest.mark.parametrize("name", READY)
def test_ready_scenario_runs_and_its_laws_hold(name: str) -> None:
    """The shipped file is right, says what it is about, and its beginning runs (a run asserts the laws)."""
    file = ready_scenario(name)
    assert 20 <= len(file.about) <= 110
    assert file.scenario.name == name
    run = simulate(file.scenario.model_copy(update={"duration": _through_the_beginning(file.scenario)}))
    assert isinstance(run, Run)
    assert run.totals.succeeded


def _through_the_beginning(scenario: Scenario) -> float:
    """Up to the first seconds of the trouble."""
    return 5.0 if scenario.incident is None else min(scenario.duration, scenario.incident[0] + 3)


def test_ready_scenario_that_does_not_exist_names_the_closest() -> None:
    """Or all of them."""
    with pytest.raises(ConfigurationError, match="no ready scenario 'stal'; did you mean 'stall'"):
        ready_scenario("stal")
