"""Ready scenarios: TOML files to run, and to copy as a beginning of one's own."""

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
"""Their names, from the harmless to the subtle."""


def ready_scenario(name: str) -> ScenarioFile:
    """One of them.

    Raises:
        ConfigurationError: There is none of this name; names the closest.
    """
    if name not in READY:
        raise ConfigurationError(f"there is no ready scenario {name!r}; {suggest(name, READY)}")
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return parsed_scenario(text, f"{name}.toml", name)
