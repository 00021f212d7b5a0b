"""The random generator of a client, seeded anew in a forked process.

A fork copies a generator with its state. Servers that load the application and then fork their workers (gunicorn with
``--preload``, Celery's prefork pool, uWSGI) would get workers whose delays are equal to the last digit, so that their
retries and probes stay in step. Python seeds the generator of the ``random`` module again after a fork, but no other.
This module does the same for the generators that it makes. What must be unique and not only spread, such as an
idempotency key or a multipart boundary, comes from the system's randomness (``uuid4``), which no fork repeats.
"""

from __future__ import annotations

import os
import random
from typing import Final
from weakref import WeakSet

_generators: Final[WeakSet[random.Random]] = WeakSet()


def new_generator() -> random.Random:
    """Return a random generator, seeded by the system, and again in each process that is forked from this one."""
    generator = random.Random()
    _generators.add(generator)
    return generator


def _seed_again() -> None:
    for generator in tuple(_generators):
        generator.seed()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_seed_again)
