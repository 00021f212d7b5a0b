"""Keeps what a caller passed in out of the frames of a traceback.

Error reporters send the local variables of every frame. An argument that is refused lies in many of them, together with
the headers and the query that came with it. The message says what is wrong, so these frames have nothing to add and are
dropped. The frames in which a call that was sent can fail hold no plain credential in the first place: they keep it in
objects whose ``repr`` does not show it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from resilient_client._core.errors import ResilientClientError

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=BaseException)


def without_frames(error: E) -> E:
    """Drop the traceback of an error, and a context that it suppresses, whose text may hold the refused value."""
    if error.__suppress_context__ and error.__cause__ is None:
        error.__context__ = None
    return error.with_traceback(None)


def forgets_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that an error of this library does not hold its arguments in a frame.

    It costs a call and is not for what every call of a client runs through.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ResilientClientError as error:
            failure = without_frames(error)
        finally:
            del args, kwargs
        try:
            raise failure
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector

    return checked
