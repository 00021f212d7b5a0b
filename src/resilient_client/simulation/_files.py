"""From a TOML file to a scenario. Says which file, which table and which name is wrong, and what was meant.

The names are those of the models: what ``Upstream(servers=...)`` takes stands as ``servers`` in ``[upstreams.NAME]``,
``[callers.NAME]`` and ``[network]`` likewise. Settings of clients stand in ``client`` tables, under the names of
``ClientConfig``: in ``[client]`` those of all, in ``[callers.NAME.client]`` and ``[upstreams.NAME.client]`` those of
one group, over them. ``"off"`` stands for ``None``, which TOML does not have. Nothing is run from here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_args

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.validation import suggest
from resilient_client._settings.base import Settings
from resilient_client._settings.config import ClientConfig
from resilient_client.simulation._arrivals import ClosedLoop, Herd, Poisson, Steady
from resilient_client.simulation._changes import Capacity, Errors, Outage, Slowdown, Stall
from resilient_client.simulation._distributions import Constant, Exponential, LoadDependent, Lognormal, Mixture
from resilient_client.simulation._scenario import Callers, Network, Scenario
from resilient_client.simulation._upstream import Name, Upstream

S = TypeVar("S", bound=Settings)

_TOP: Final = ("about", "duration", "seed", "network", "client", "upstreams", "callers")
_LAWS: Final = (Constant, Exponential, LoadDependent, Lognormal, Mixture)
_KINDS: Final[dict[str, tuple[type[Settings], ...]]] = {
    "service": _LAWS,
    "round_trip": _LAWS,
    "pause": _LAWS,
    "of": _LAWS,
    "arrivals": (Poisson, Steady, Herd, ClosedLoop),
    "changes": (Outage, Stall, Capacity, Slowdown, Errors),
}
"""What may stand under these names: tables that say by ``kind`` which they are."""
_OURS: Final = {"name", "config", "client", "handler"}
"""Fields of models that no file sets: the table has the name, and functions cannot be written down."""
_NAME: Final = re.compile(next(m.pattern for m in get_args(Name)[1].metadata if hasattr(m, "pattern")))


class ScenarioFile(NamedTuple):
    """What a file holds.

    Attributes:
        scenario: What to run; called as the file is.
        about: The file's own word on it; may be empty.
        text: The file as it is.
    """

    scenario: Scenario
    about: str
    text: str


def read_scenario(path: str | Path) -> ScenarioFile:
    """Read a scenario.

    Raises:
        ConfigurationError: The file cannot be read, is no TOML, or something in it cannot be.
    """
    path = Path(path)
    return parsed_scenario(_read(path), str(path), path.stem)


def parsed_scenario(text: str, where: str, name: str) -> ScenarioFile:
    """A scenario from TOML.

    Args:
        text: The TOML.
        where: What errors call it.
        name: What the scenario is called.

    Raises:
        ConfigurationError: It is no TOML, or something in it cannot be.
    """
    table = _toml(text, where)
    _known(where, table, _TOP)
    about = table.pop("about", "")
    if not isinstance(about, str):
        raise ConfigurationError(f"{where}: about is {about!r:.80}; give a text")
    base = _config(f"{where}: client", table.pop("client", {}))
    values: dict[str, Any] = {key: table[key] for key in ("duration", "seed") if key in table}
    if "network" in table:
        values["network"] = _part(Network, f"{where}: network", table["network"], {})
    for key, model in (("upstreams", Upstream), ("callers", Callers)):
        values[key] = tuple(_parts(model, f"{where}: {key}", table.get(key, {}), base))
    return ScenarioFile(_made(Scenario, where, {"name": name, **values}), about, text)


def read_config(path: str | Path) -> ClientConfig:
    """Read the settings of a client: a file with the tables of ``ClientConfig``, such as ``[retry]``.

    Raises:
        ConfigurationError: The file cannot be read, is no TOML, or something in it cannot be.
    """
    path = Path(path)
    return _config(str(path), _toml(_read(path), str(path)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: byte {error.start} is not UTF-8") from None


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # which says: (at line 3, column 5)
        message = str(error).replace("at end of document", f"at line {len(text.splitlines())}, the end of the file")
        raise ConfigurationError(f"{where} is no TOML: {message[:1].lower()}{message[1:]}") from None


def _parts(model: type[S], where: str, tables: object, base: ClientConfig) -> Iterator[S]:
    """One object a table."""
    kind = where.rpartition(" ")[2]
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigurationError(f"{where}: there are none; add one, such as [{kind}.shop]")
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}.{name}: names are of small letters, digits and dashes, and begin with a letter; rename it"
            )
        place = f"{where}.{name}"
        rest = dict(table) if isinstance(table, Mapping) else table
        own = _config(f"{place}.client", rest.pop("client", {})) if isinstance(rest, dict) else base
        yield _part(model, place, rest, {"name": name, "config": base.merge(own)})


def _part(model: type[S], where: str, table: object, more: Mapping[str, Any]) -> S:
    allowed = {*model.model_fields} - _OURS
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where} is {table!r:.80}; give a table")
    _known(where, table, allowed | ({"client"} if more else set()))
    for key, value in table.items():
        if key in _KINDS:
            _check_kinds(f"{where}.{key}", key, value)
    return _made(model, where, {**table, **more})


def _check_kinds(where: str, key: str, value: object) -> None:
    """Every table that must say its kind says one there is; the models would tell it in too many words."""
    tables = value if isinstance(value, list) else [value]
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, Mapping):
            continue  # a plain number, or wrong; the model will say so
        place = f"{where}, number {number}," if isinstance(value, list) else where
        kinds = [str(model.model_fields["kind"].default) for model in _KINDS[key]]
        if "kind" not in table:
            raise ConfigurationError(f"{place} has no kind; allowed are: {', '.join(kinds)}")
        if table["kind"] not in kinds:
            kind = table["kind"]
            raise ConfigurationError(f"{place} is of the kind {kind!r:.80}; {suggest(str(kind), kinds)}")
        for part in table.get("parts", ()) if table["kind"] == "mixture" else ():
            if isinstance(part, Mapping) and "of" in part:
                _check_kinds(f"{where}.parts.of", "of", part["of"])
        if "pause" in table:
            _check_kinds(f"{where}.pause", "pause", table["pause"])


def _config(where: str, table: object) -> ClientConfig:
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where} is {table!r:.80}; give a table of settings")
    return _made(ClientConfig, where, {key: _or_off(value) for key, value in table.items()})


def _or_off(value: object) -> object:
    """``None`` for ``"off"``, in tables inside tables, too."""
    if isinstance(value, Mapping):
        return {key: _or_off(inner) for key, inner in value.items()}
    return None if value == "off" else value


def _known(where: str, table: Mapping[str, object], allowed: Collection[str]) -> None:
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f"{where} has no key {key!r}; {suggest(key, allowed)}")


def _made(model: type[S], where: str, values: Mapping[str, Any]) -> S:
    try:
        return model(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {in_toml(str(error))}") from None


def in_toml(sentence: str) -> str:
    """What a model says, in the words of a file: ``'off'`` for ``None``, and tables for models."""
    sentence = sentence.replace("or None for", "or 'off' for").replace(" is None;", " is 'off';")
    return re.sub(r"give ([^;]*?)\b[A-Z]\w+\(([^)]*)\)", r"give \1{ \2 }", sentence)
