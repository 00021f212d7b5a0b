"""The variants that ``--compare`` selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilient_client import CircuitBreaker, ClientConfig, ConfigurationError
from resilient_client._cli.simulate.variants import UNCHANGED, variants
from resilient_client.simulation import DEFAULT, NAIVE, NONE


def test_no_compare_is_the_unchanged_scenario() -> None:
    """No settings are applied."""
    assert variants([]) == (UNCHANGED,)


@pytest.mark.parametrize("what", ["retry", "client"])
def test_compare_knows_three_presets(what: str) -> None:
    """``none``, ``naive`` and ``default`` are the presets of the simulation."""
    assert [each.config for each in variants([f"{what}=none,naive,default"])] == [NONE, NAIVE, DEFAULT]


def test_off_disables_one_pattern() -> None:
    """``retry=off`` keeps the circuit, which ``retry=none`` does not."""
    (off,) = variants(["retry=off"])
    assert (off.config.retry, off.config.model_fields_set) == (None, {"retry"})


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("retry.max_attempts=5", {"retry": {"max_attempts": 5}}),
        ("retry.backoff=exponential", {"retry": {"backoff": "exponential"}}),
        ("retry.backoff.initial=50ms", {"retry": {"backoff": {"initial": 0.05}}}),
        ("timeout=2s", {"timeout": 2}),
        ("timeout.total=off", {"timeout": {"total": None}}),
        ("circuit_breaker.failure_ratio=0.25", {"circuit_breaker": {"failure_ratio": 0.25}}),
        ("raise_for_status=false", {"raise_for_status": False}),
    ],
)
def test_value_sets_the_setting_of_that_name(text: str, config: dict[str, object]) -> None:
    """Names and values are those of ``ClientConfig``."""
    (one,) = variants([text])
    assert one.config == ClientConfig(**config)
    assert one.config.model_fields_set == set(config)


def test_several_compares_are_combined() -> None:
    """A combination is named by its values."""
    both = variants(["retry_budget=off,default", "circuit_breaker=off,default"])
    assert [each.name for each in both] == [
        "retry_budget=off, circuit_breaker=off",
        "retry_budget=off, circuit_breaker=default",
        "retry_budget=default, circuit_breaker=off",
        "retry_budget=default, circuit_breaker=default",
    ]
    assert both[0].config.model_fields_set == {"retry_budget", "circuit_breaker"}


@pytest.mark.parametrize("preset", ["retry=naive", "client=naive", "retry=none"])
@pytest.mark.parametrize("preset_first", [True, False])
def test_explicit_default_wins_over_a_preset(preset: str, preset_first: bool) -> None:
    """The column says that the circuit is the scenario's, so it is, whatever else the preset changes."""
    texts = [preset, "circuit_breaker=off,default"]
    off, default = variants(texts if preset_first else texts[::-1])
    assert off.config.circuit_breaker is None
    assert "circuit_breaker=default" in default.name
    assert default.config.model_fields_set == off.config.model_fields_set - {"circuit_breaker"}
    assert default.config.retry == off.config.retry


@pytest.mark.parametrize("compare", ["retry.max_attempts=default", "retry.max_attempts=5"])
def test_explicit_setting_wins_within_a_preset(compare: str) -> None:
    """The rest of the preset stays."""
    for texts in (["retry=naive", compare], [compare, "retry=naive"]):
        (one,) = variants(texts)
        assert NAIVE.retry is not None
        assert one.config.retry is not None
        assert one.config.retry.backoff is NAIVE.retry.backoff
        assert one.config.retry_budget is None
        assert one.config.retry.model_fields_set - {"backoff"} == ({"max_attempts"} if "5" in compare else set())


def test_explicit_setting_wins_over_a_file(tmp_path: Path) -> None:
    """A file sets a whole client, and what is named beside it applies."""
    (tmp_path / "mine.toml").write_text("[retry]\nmax_attempts = 7\n[circuit_breaker]\nwindow = 20\n")
    one, other = variants(["retry=off,default", f"client={tmp_path}/mine.toml"])
    assert (one.config.retry, one.config.circuit_breaker) == (None, CircuitBreaker(window=20))
    assert other.config.model_fields_set == {"circuit_breaker"}


@pytest.mark.parametrize("name", ["mine", "default"])
def test_file_of_settings_is_a_variant(tmp_path: Path, name: str) -> None:
    """The variant has the name of the file."""
    (tmp_path / f"{name}.toml").write_text("[retry]\nmax_attempts = 7\n")
    (one,) = variants([f"client={tmp_path}/{name}.toml"])
    assert one.name == name
    assert one.config == ClientConfig(retry={"max_attempts": 7})


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["retry"], "--compare is 'retry'; write WHAT=VALUE,VALUE such as retry=none,naive,default"),
        (["retry="], "--compare is 'retry='"),
        (["retry=none,,naive"], "--compare is 'retry=none,,naive'"),
        (["rety=none"], "there is no setting 'rety'; did you mean 'retry'?"),
        (["retry.max_atempts=3"], "did you mean 'retry.max_attempts'?"),
        (["nonsense=3"], "there is no setting 'nonsense'; allowed are: "),
        (["retry=naiv"], "--compare retry=naiv: did you mean 'naive'? or one of its settings, such as retry.max_at"),
        (["circuit_breaker=of"], "--compare circuit_breaker=of: did you mean 'off'?"),
        (["circuit_breaker=none"], "circuit_breaker=none"),
        (["retry.max_attempts=0"], "Retry.max_attempts is 0, but must be greater than or equal to 1"),
        (["timeout.attempt=3x"], "Timeout.attempt is '3x', but must be a valid number"),
        (["connection=off"], "connection is 'off'; give { ... }"),
        (["client=nave"], "did you mean 'naive'?; or name a TOML file"),
        (["client=no.toml"], "'no.toml' cannot be read: no such file or directory"),
        (["retry=none", "retry=naive"], "--compare has 'retry' twice"),
        (["retry=none,none"], "retry has 'none' twice"),
        (["retry.max_attempts=1,2,3,4", "timeout=1,2,3,4"], "asks for 16 combinations; at most 12"),
    ],
)
def test_invalid_compare_is_refused_with_advice(texts: list[str], words: str) -> None:
    """The message is one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        variants(texts)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
