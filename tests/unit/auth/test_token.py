"""The keeper, in virtual time: every `sleep` here is a jump of the clock."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.auth.support import others

from resilient_client._core.errors import ConfigurationError
from resilient_client.auth._token import Token, TokenKeeper
from resilient_client.testing._virtual_time import run_virtual


class Source:
    """Gives t1, t2 ... with a lifetime, taking its time; fails on demand."""

    def __init__(self, lifetime: float | None, *, takes: float = 0.0) -> None:
        self.lifetime = lifetime
        self.takes = takes
        self.asked: list[float] = []
        self.failing = False

    async def __call__(self) -> Token:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if self.failing:
            raise OSError("no luck")
        return Token(f"t{len(self.asked)}", self.lifetime)


def tell(source: Source, story: Callable[[TokenKeeper], Awaitable[object]], *, early: float = 30.0) -> None:
    """Tell a story about a keeper in virtual time, from 0 on."""

    async def main() -> None:
        await story(TokenKeeper(source, timeout=10.0, early_refresh=early))

    run_virtual(main())


async def value_at(keeper: TokenKeeper, time: float) -> str:
    """The token at that time, for which nobody had to wait."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(time - loop.time())
    value = await keeper.get()
    assert loop.time() == pytest.approx(time)
    return value.get_secret_value()


def test_token_near_its_end_is_renewed_in_the_background() -> None:
    """Near the end, one fetch starts and everybody goes on with the token that is still valid."""
    source = Source(100.0, takes=3.0)

    async def story(keeper: TokenKeeper) -> None:
        await keeper.get()
        assert await value_at(keeper, 69.0) == "t1"
        assert not others()
        assert [await value_at(keeper, 71.0) for _ in range(100)] == ["t1"] * 100
        assert await value_at(keeper, 75.0) == "t2"
        assert source.asked == [0.0, 71.0]

    tell(source, story)


def test_expired_token_is_waited_for_once_by_all() -> None:
    """Without early refresh everybody waits for the one fetch after the end, counted from when it was asked for."""
    source = Source(100.0, takes=3.0)

    async def story(keeper: TokenKeeper) -> None:
        await keeper.get()
        await asyncio.sleep(97.0)
        values = await asyncio.gather(*(keeper.get() for _ in range(100)))
        assert {value.get_secret_value() for value in values} == {"t2"}
        assert source.asked == [0.0, 100.0]

    tell(source, story, early=0.0)


def test_failing_background_refresh_keeps_the_token_and_does_not_hammer(caplog: pytest.LogCaptureFixture) -> None:
    """A failed early refresh is tried again at growing urgency, not with every call; the old token serves."""
    source = Source(100.0)

    async def story(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.failing = True
        for tenth in range(10, 1000):
            assert await value_at(keeper, tenth / 10) == "t1"
        assert 4 <= len(source.asked) <= 8
        with pytest.raises(OSError, match="no luck"):
            await value_at(keeper, 100.0)

    with caplog.at_level(logging.WARNING):
        tell(source, story)
    assert "OSError" in caplog.text


def test_hanging_background_refresh_ends_by_itself() -> None:
    """Nobody needs to close a keeper: what it started ends by its own timeout."""
    source = Source(100.0)

    async def story(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.takes = 1000.0
        await value_at(keeper, 80.0)
        assert len(others()) == 1
        await asyncio.sleep(10.5)
        assert not others()

    tell(source, story)


def test_close_ends_the_background_refresh_at_once() -> None:
    """Whoever wants no task to survive may close, more than once; the token goes on to serve."""
    source = Source(100.0)

    async def story(keeper: TokenKeeper) -> None:
        await keeper.get()
        source.takes = 5.0
        for _ in range(2):
            assert await value_at(keeper, 80.0) == "t1"
            assert len(others()) == 1
            await keeper.close()
            assert not others()

    tell(source, story)


def test_token_without_lifetime_is_kept_until_it_is_refused() -> None:
    """What never expires is fetched once, and again only when it is refused."""
    source = Source(None)

    async def story(keeper: TokenKeeper) -> None:
        assert await value_at(keeper, 0.0) == "t1"
        assert await value_at(keeper, 1e6) == "t1"
        assert await keeper.replace()
        assert await value_at(keeper, 1e6) == "t2"

    tell(source, story)


@given(st.floats(0.5, 1e5), st.floats(0, 1e5))
def test_early_refresh_never_begins_in_the_first_half_of_the_lifetime(lifetime: float, early: float) -> None:
    """However long before the end the early refresh shall begin, a fresh token is not renewed at once."""
    source = Source(lifetime)

    async def story(keeper: TokenKeeper) -> None:
        await keeper.get()
        await value_at(keeper, 0.49 * lifetime)
        assert not others()
        assert len(source.asked) == 1

    tell(source, story, early=early)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_lifetime_out_of_range_is_refused(seconds: float) -> None:
    """A lifetime is above zero and finite, or not given."""
    with pytest.raises(ConfigurationError, match="expires_in"):
        Token("t", expires_in=seconds)


@pytest.mark.parametrize("numbers", [{"timeout": 0.0}, {"timeout": 1.0, "early_refresh": -1.0}])
def test_number_out_of_range_is_refused(numbers: dict[str, float]) -> None:
    """A wrong number fails at construction."""
    with pytest.raises(ConfigurationError, match="seconds"):
        TokenKeeper(Source(None), **numbers)
