"""From a TOML file to targets. Says which file, which table and which key is wrong, and what was meant.

::

    timeout = 2                # seconds for a whole check
    concurrency = 100          # targets asked at once
    rise = 2                   # with --watch: good looks in a row until a target is up again
    fall = 3                   # and bad ones until it is down

    [targets]
    users = "https://users.example.com/health"

    [targets.search]
    url = "https://search.example.com/health"
    critical = false           # the whole is not down when this one is
    expect_status = [200, 204] # one status, several, or a span such as "200-299"; 200-399 if left out
    expect_body = "ready"      # a text that the body must contain
    timeout = "500ms"          # for this target alone
    slow = 0.2                 # seconds above which a good answer is degraded
    method = "GET"
    headers = { Accept = "application/json" }
    certificate_days = 14      # days before the certificate expires from which on it is degraded
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from resilient_client._cli import inputs
from resilient_client._core.errors import ConfigurationError, InvalidRequestError
from resilient_client._core.validation import suggest
from resilient_client.health import Probe

_TOP = ("timeout", "concurrency", "rise", "fall", "targets")
_SPAN = re.compile(r"\s*(\d{3})\s*-\s*(\d{3})\s*")


class TargetFile(NamedTuple):
    """What a file asks for.

    Attributes:
        probes: The targets, in the order of the file.
        options: How to check them, as far as the file says it: ``timeout``, ``concurrency``, ``rise``, ``fall``.
    """

    probes: tuple[Probe, ...]
    options: dict[str, Any]


def read_targets(path: str) -> TargetFile:
    """Read a file of targets.

    Raises:
        ConfigurationError: It cannot be read, is no TOML, or something in it cannot be.
    """
    table = _parsed(path)
    for key in table:
        if key not in _TOP:
            raise ConfigurationError(f"{path}: there is no key {key!r} at the top; {suggest(key, _TOP)}")
    options: dict[str, Any] = {
        key: _count(f"{path}: {key}", table[key]) for key in ("concurrency", "rise", "fall") if key in table
    }
    if "timeout" in table:
        options["timeout"] = inputs.seconds(f"{path}: timeout", table["timeout"])
    targets = table.get("targets", {})
    if not isinstance(targets, Mapping) or not targets:
        raise ConfigurationError(f"{path}: there are no targets; add one, such as [targets.users] with a url")
    return TargetFile(tuple(_probes(path, targets)), options)


def _parsed(path: str) -> dict[str, Any]:
    content = inputs.read_file(path, "--config")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        end = f"at line {len(content.splitlines())}, the end of the file"
        message = str(error).replace("at end of document", end)  # else it says: (at line 3, column 5)
        raise ConfigurationError(f"{path} is no TOML: {message[:1].lower()}{message[1:]}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is no TOML: nested too deeply") from None
    except ValueError:  # what Python makes of it; TOML itself ends at 64 bits
        raise ConfigurationError(f"{path} is no TOML: a number of too many digits") from None


def _probes(path: str, targets: Mapping[str, object]) -> Iterator[Probe]:
    for name, given in targets.items():
        where = f"{path}: targets.{name}"
        entry = {"url": given} if isinstance(given, str) else given
        if not isinstance(entry, Mapping):
            raise ConfigurationError(f"{where} is {given!r:.80}; give a URL, or a table with a url")
        for key in entry:
            if key not in _KEYS:
                raise ConfigurationError(f"{where} has no key {key!r}; {suggest(key, _KEYS)}")
        if "url" not in entry:
            raise ConfigurationError(f"{where} has no url; add one such as url = 'https://users.example.com/health'")
        values: dict[str, Any] = {key: _KEYS[key](f"{where}.{key}", value) for key, value in entry.items()}
        try:
            yield Probe(values.pop("url"), name=name, **values)
        except (ConfigurationError, InvalidRequestError) as error:
            raise ConfigurationError(f"{where}: {error}") from None


def _url(where: str, value: object) -> str:
    text = _text(where, value)
    try:
        return inputs.checked_url(text, credentials="give an Authorization in headers")
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{where} is {value!r:.80}; give a text")
    return value


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where} is {value!r:.80}; give true or false")
    return value


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{where} is {value!r:.80}; give a number")
    return value


def _count(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{where} is {value!r:.80}; give a whole number, 1 or more")
    return value


def _statuses(where: str, value: object) -> Collection[int]:
    given: Collection[object] = value if isinstance(value, list) else [value]
    if isinstance(value, str) and (span := _SPAN.fullmatch(value)):
        given = range(int(span[1]), int(span[2]) + 1)
    statuses = [one for one in given if isinstance(one, int) and not isinstance(one, bool) and 100 <= one <= 599]
    if not statuses or len(statuses) < len(given):
        raise ConfigurationError(
            f"{where} is {value!r:.80}; give a status, a list of them, or a span such as '200-299'"
        )
    return given if isinstance(given, range) else statuses


def _headers(where: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
        raise ConfigurationError(f"{where} is no table of texts; give one such as {{ Accept = 'application/json' }}")
    return dict(value)


_KEYS = {
    "url": _url,
    "critical": _flag,
    "expect_status": _statuses,
    "expect_body": _text,
    "timeout": inputs.seconds,
    "slow": inputs.seconds,
    "method": _text,
    "headers": _headers,
    "certificate_days": _number,
}
"""What a target may say, and how each is read."""
