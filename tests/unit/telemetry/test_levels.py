"""A change of any level of ``logging`` is noticed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from resilient_client.telemetry import _levels
from resilient_client.telemetry._levels import version


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Restore the levels."""
    loggers = [logging.getLogger(), logging.getLogger("resilient_client"), logging.getLogger("resilient_client.call")]
    kept = [(logger, logger.level) for logger in loggers]
    yield
    logging.disable(logging.NOTSET)
    for logger, level in kept:
        logger.setLevel(level)


@pytest.mark.parametrize(
    "change",
    [
        lambda: logging.getLogger().setLevel(logging.ERROR),
        lambda: logging.getLogger("resilient_client").setLevel(logging.INFO),
        lambda: logging.getLogger("resilient_client.call").setLevel(logging.DEBUG),
        lambda: logging.disable(logging.INFO),
    ],
    ids=["root", "library", "one logger", "disable"],
)
def test_change_of_a_level_changes_the_version(change: Callable[[], None]) -> None:
    """Each of the ways to change what is enabled is seen once. Without a change the version stays."""
    before = version()
    assert version() == version() == before
    change()
    after = version()
    assert after != before
    assert version() == after


def test_python_has_the_dict_that_is_used() -> None:
    """A release of Python without it would make each call slower, which this test reports."""
    assert _levels._known is logging.getLogger("resilient_client._levels")._cache  # type: ignore[attr-defined]


def test_missing_dict_means_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, no change is missed."""
    monkeypatch.setattr(_levels, "_known", {})
    assert version() != version()
