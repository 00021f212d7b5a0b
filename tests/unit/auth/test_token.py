"""``TokenKeeper`` and ``Token``, in virtual time: every ``sleep`` is a jump of the clock."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.auth.support import others

from resilient_client._core.errors import APIConnectionError, APIError, CircuitOpenError
from resilient_client.auth._token import Token, TokenKeeper
from resilient_client.testing._virtual_time import run_virtual


class Source:
    """Returns t1, t2 ... after ``takes`` seconds, with a lifetime. Fails while ``failing`` is set."""

    def __init__(self, lifetime: float | None, *, takes: float = 0.0) -> None:
        self.lifetime = lifetime
        self.takes = takes
        self.called_at: list[float] = []
        self.failing = False
        self.error: Exception = OSError("no luck")

    async def __call__(self) -> Token:
        self.called_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if self.failing:
            raise self.error
        return Token(f"t{len(self.called_at)}", self.lifetime)


def run_scenario(source: Source, scenario: Callable[[TokenKeeper], Awaitable[object]], *, early: float = 30.0) -> None:
    """Run a scenario with a keeper in virtual time, from 0 on."""

    async def main() -> None:
        await scenario(TokenKeeper(source, timeout=10.0, early_refresh=early))

    run_virtual(main())


async def value_at(keeper: TokenKeeper, time: float) -> str:
    """The token at that time. Fails if ``get`` had to wait."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(time - loop.time())
    value = await keeper.get()
    assert loop.time() == pytest.approx(time)
    return value.get_secret_value()


def test_token_near_expiry_is_renewed_in_background() -> None:
    """One fetch starts, and all calls get the token that is still valid."""
    source = Source(100.0, takes=3.0)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        assert await value_at(keeper, 69.0) == "t1"
        assert not others()
        assert [await value_at(keeper, 71.0) for _ in range(100)] == ["t1"] * 100
        assert await value_at(keeper, 75.0) == "t2"
        assert source.called_at == [0.0, 71.0]

    run_scenario(source, scenario)


def test_token_expired_is_fetched_once_for_all() -> None:
    """Without early refresh all calls wait for one fetch. The lifetime counts from the start of the fetch."""
    source = Source(100.0, takes=3.0)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        await asyncio.sleep(97.0)
        values = await asyncio.gather(*(keeper.get() for _ in range(100)))
        assert {value.get_secret_value() for value in values} == {"t2"}
        assert source.called_at == [0.0, 100.0]

    run_scenario(source, scenario, early=0.0)


def test_background_refresh_failing_keeps_token(caplog: pytest.LogCaptureFixture) -> None:
    """A failed early refresh is retried ever more often, but not with every call. The old token is used meanwhile."""
    source = Source(100.0)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.failing = True
        for tenth in range(10, 1000):
            assert await value_at(keeper, tenth / 10) == "t1"
        assert 4 <= len(source.called_at) <= 8
        with pytest.raises(OSError, match="no luck"):
            await value_at(keeper, 100.0)

    with caplog.at_level(logging.WARNING):
        run_scenario(source, scenario)
    assert "OSError" in caplog.text


def test_background_refresh_hanging_times_out() -> None:
    """A keeper needs no closing: its timeout ends what it started."""
    source = Source(100.0)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.takes = 1000.0
        await value_at(keeper, 80.0)
        assert len(others()) == 1
        await asyncio.sleep(10.5)
        assert not others()

    run_scenario(source, scenario)


def test_close_cancels_background_refresh() -> None:
    """``close`` may be called more than once. The keeper can still be used."""
    source = Source(100.0)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.takes = 5.0
        for _ in range(2):
            assert await value_at(keeper, 80.0) == "t1"
            assert len(others()) == 1
            await keeper.close()
            assert not others()

    run_scenario(source, scenario)


def test_token_without_lifetime_is_kept_until_refused() -> None:
    """It is fetched once, and again only after ``replace``."""
    source = Source(None)

    async def scenario(keeper: TokenKeeper) -> None:
        assert await value_at(keeper, 0.0) == "t1"
        assert await value_at(keeper, 1e6) == "t1"
        assert await keeper.replace()
        assert await value_at(keeper, 1e6) == "t2"

    run_scenario(source, scenario)


@given(st.floats(0.5, 1e5), st.floats(0, 1e5))
def test_early_refresh_waits_for_half_of_lifetime(lifetime: float, early: float) -> None:
    """However large ``early_refresh`` is, a new token is not renewed at once."""
    source = Source(lifetime)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        await value_at(keeper, 0.49 * lifetime)
        assert not others()
        assert len(source.called_at) == 1

    run_scenario(source, scenario, early=early)


async def failure_at(keeper: TokenKeeper, time: float) -> Exception:
    """The exception of ``get`` at that time."""
    with pytest.raises(Exception) as caught:
        await value_at(keeper, time)
    return caught.value


def test_failure_is_kept_for_a_second() -> None:
    """The calls of the next second fail at once, each with an error of its own. Then the source is asked again."""
    source = Source(100.0)
    source.failing = True

    async def scenario(keeper: TokenKeeper) -> None:
        assert isinstance(await failure_at(keeper, 0.0), OSError)
        kept = [await failure_at(keeper, tenth / 10) for tenth in range(1, 10)]
        assert source.called_at == [0.0]
        assert len(set(map(id, kept))) == 9
        for error in kept:
            assert isinstance(error, APIError)
            assert str(error).startswith("the token provider failed: OSError; no other token is requested for ")
            assert not error.retryable
        assert getattr(kept[4], "retry_after", None) == pytest.approx(0.5)
        source.failing = False
        assert await value_at(keeper, 1.0) == "t2"
        assert source.called_at == [0.0, 1.0]

    run_scenario(source, scenario)


@pytest.mark.parametrize(
    ("error", "retry_after", "kept"),
    [
        (APIConnectionError("down"), None, 1.0),
        (APIConnectionError("down"), 0.0, 1.0),
        (APIConnectionError("down"), 5.0, 5.0),
        (APIConnectionError("down"), 1e9, 60.0),
        (CircuitOpenError("open"), 0.25, 0.25),
    ],
)
def test_failure_is_kept_as_long_as_asked(error: APIError, retry_after: float | None, kept: float) -> None:
    """``Retry-After`` and an open circuit say how long, within bounds. A server cannot ask for a flood with a 0."""
    source = Source(100.0)
    source.failing, source.error, error.retry_after = True, error, retry_after

    async def scenario(keeper: TokenKeeper) -> None:
        assert await failure_at(keeper, 0.0) is error
        assert type(await failure_at(keeper, kept * 0.99)) is type(error)
        assert source.called_at == [0.0]
        await failure_at(keeper, kept)
        assert source.called_at == [0.0, kept]

    run_scenario(source, scenario)


def test_failure_kept_holds_no_frame() -> None:
    """The frames of a fetch hold secrets, so what is kept of its failure has no traceback."""
    source = Source(100.0)
    source.failing, source.error = True, APIConnectionError("down")

    async def scenario(keeper: TokenKeeper) -> None:
        await failure_at(keeper, 0.0)
        assert keeper._failure is not None
        assert keeper._failure.__traceback__ is keeper._failure.__context__ is None

    run_scenario(source, scenario)


def test_refused_token_waits_for_kept_failure() -> None:
    """A 401 does not ask a source again that has just failed. The refused token is not used again either."""
    source = Source(1.0)

    async def scenario(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.failing = True
        await failure_at(keeper, 1.0)
        with pytest.raises(APIError, match="no other token"):
            await keeper.replace()
        assert source.called_at == [0.0, 1.0]

    run_scenario(source, scenario, early=0.0)


def test_failure_of_later_clock_is_not_kept() -> None:
    """A keeper that moves to a loop whose clock is behind asks the source, and does not wait for the old clock."""
    source = Source(100.0)
    source.failing = True
    keeper = TokenKeeper(source, timeout=10.0)
    for start in (1000.0, 0.0):
        with pytest.raises(OSError, match="no luck"):
            run_virtual(keeper.get(), start=start)
