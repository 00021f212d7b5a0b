"""A progress bar for a fan-out: tqdm's, in a terminal or a notebook, loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Any, Self

from resilient_client._core.errors import InvalidRequestError, MissingExtraError
from resilient_client._core.outcome import Failure, Outcome


class Progress:
    """A bar that is told of outcomes. Use it as a context manager, or it stays on the screen unfinished."""

    __slots__ = ("_bar", "_failed")

    def __init__(self, title: bool | str, total: int | None) -> None:
        """Show it.

        Args:
            title: Stands before the bar; ``True``: nothing does.
            total: How many outcomes there will be, if that is known.

        Raises:
            MissingExtraError: tqdm is not installed.
        """
        try:
            tqdm: Any = import_module("tqdm.auto").tqdm
        except ImportError as error:
            raise MissingExtraError(
                f"progress={title!r} needs tqdm; install it with: pip install 'resilient-client[progress]'"
            ) from error
        # tqdm watches stale bars from a thread, which it leaves behind; a bar that looks at the clock each time
        # (miniters=1) needs no watching.
        unwatched = type("Bar", (tqdm,), {"monitor_interval": 0})
        self._bar = unwatched(total=total, desc=title if isinstance(title, str) else None, unit=" calls", miniters=1)
        self._failed = 0

    def __call__(self, outcome: Outcome[Any]) -> None:
        """One more; failures are counted behind the bar, dropped calls are not."""
        if isinstance(outcome, Failure) and not outcome.dropped:
            self._failed += 1
            self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.update()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def check_progress(progress: object) -> None:
    """Complain about what says neither whether there is a bar nor how it is called.

    Raises:
        InvalidRequestError: Saying what to give.
    """
    if not isinstance(progress, (bool, str)):
        raise InvalidRequestError(f"progress is {progress!r}; give True, False, or the text before the bar")
