"""Scenarios read from TOML files."""

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
about = "every key there is"
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


def test_file_has_the_names_of_the_models() -> None:
    """Keys have the names and meanings of the models, and a group's ``client`` table overrides ``[client]``."""
    file = parsed_scenario(WHOLE, "x.toml", "x")
    base = ClientConfig(retry=None, timeout=Timeout(total=10))
    parts = (Share(share=9, of=0.01), Share(share=1, of=Lognormal(median=1)))
    assert file.about == "every key there is"
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


def test_settings_of_a_group_are_only_those_in_the_file() -> None:
    """Fields that the file does not set stay unset, so that ``with_config`` can merge field by field."""
    (shop, _) = parsed_scenario(WHOLE, "x.toml", "x").scenario.callers
    assert shop.config.model_fields_set == {"retry", "timeout"}


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_file_invalid_is_rejected(text: str, message: str) -> None:
    """The message is one sentence with the file, the table, the key, the value, and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        parsed_scenario(text, "x.toml", "x")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_missing_or_binary_is_rejected(tmp_path: Path) -> None:
    """Both files of scenarios and files of settings are checked."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path, message in ((tmp_path / "no.toml", "no such file or directory"), (tmp_path / "binary.toml", "byte 0")):
        for read in (read_scenario, read_config):
            with pytest.raises(ConfigurationError, match=message):
                read(path)


def test_file_name_becomes_the_name_of_the_scenario(tmp_path: Path) -> None:
    """A scenario has the name of its file, without the suffix."""
    (tmp_path / "mine.toml").write_text(MINIMAL)
    assert read_scenario(tmp_path / "mine.toml").scenario.name == "mine"


@pytest.mark.parametrize("name", READY)
def test_ready_scenario_runs(name: str) -> None:
    """The shipped file is valid and has a description, and its beginning runs without breaking an invariant."""
    file = ready_scenario(name)
    assert 20 <= len(file.about) <= 110
    assert file.scenario.name == name
    run = simulate(file.scenario.model_copy(update={"duration": _beginning_of(file.scenario)}))
    assert isinstance(run, Run)
    assert run.totals.succeeded


def _beginning_of(scenario: Scenario) -> float:
    """The duration up to the first seconds of the incident."""
    return 5.0 if scenario.incident is None else min(scenario.duration, scenario.incident[0] + 3)


def test_ready_scenario_unknown_suggests_the_closest() -> None:
    """The message suggests the closest name."""
    with pytest.raises(ConfigurationError, match="no ready scenario 'stal'; did you mean 'stall'"):
        ready_scenario("stal")
