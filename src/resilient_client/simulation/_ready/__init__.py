"""Ready scenarios: TOML files to run as they are, or to copy as a start."""

from __future__ import annotations

from importlib import resources

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.validation import suggest
from resilient_client.simulation._files import ScenarioFile, parsed_scenario

READY = (
    "blip",
    "outage",
    "brownout",
    "spike",
    "stall",
    "slow-endpoint",
    "layered-retries",
    "thundering-herd",
    "tail",
)
"""The names of the ready scenarios, in the order in which they are listed: simple faults first."""


def ready_scenario(name: str) -> ScenarioFile:
    """Return the ready scenario of this name.

    Raises:
        ConfigurationError: No ready scenario has this name; the message suggests the closest one.
    """
    if name not in READY:
        raise ConfigurationError(f"there is no ready scenario {name!r}; {suggest(name, READY)}")
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return parsed_scenario(text, f"{name}.toml", name)
