"""The progress bar of a fan-out, in a terminal or a notebook. Imports tqdm when the first bar is shown."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Any, Self

from resilient_client._core.errors import InvalidRequestError, MissingExtraError
from resilient_client._core.outcome import Failure, Outcome
from resilient_client._core.validation import shorten


class Progress:
    """A progress bar, called with each outcome. Use it as a context manager, so that the bar is closed."""

    __slots__ = ("_bar", "_failed")

    def __init__(self, title: bool | str, total: int | None) -> None:
        """Show the bar.

        Args:
            title: The text before the bar. ``True`` means none.
            total: The number of outcomes to come, or ``None`` if it is not known.

        Raises:
            MissingExtraError: tqdm is not installed.
        """
        try:
            tqdm: Any = import_module("tqdm.auto").tqdm
        except ImportError as error:
            raise MissingExtraError(
                f"progress={title!r} needs tqdm; install it with: pip install 'resilient-client[progress]'"
            ) from error
        # By default tqdm starts a thread that refreshes stale bars, and never ends it. With miniters=1 the bar reads
        # the clock at each update and cannot become stale, and monitor_interval=0 prevents the thread.
        bar = type("Bar", (tqdm,), {"monitor_interval": 0})
        self._bar = bar(total=total, desc=title if isinstance(title, str) else None, unit=" calls", miniters=1)
        self._failed = 0

    def __call__(self, outcome: Outcome[Any]) -> None:
        """Count an outcome. The number of failures is shown after the bar, without dropped calls."""
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
    """Check ``progress``: a flag, or a title.

    Raises:
        InvalidRequestError: It is neither.
    """
    if not isinstance(progress, (bool, str)):
        raise InvalidRequestError(f"progress is {shorten(progress)}; give True, False, or the text before the bar")
