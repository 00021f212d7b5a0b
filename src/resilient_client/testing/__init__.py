"""The test kit: upstreams in memory and on real sockets, and an event loop with virtual time.

`MockUpstream` answers in memory with `reply(...)` or `fail(...)`. `FaultServer` sends `faults` on a real socket.
`cancellation` cancels a scenario at each of its suspension points. `plugin` holds the pytest fixtures. These modules
and `__all__` are public. Modules with an underscore are private.

Names are loaded on first use, because the pytest plugin is in this package and every test run imports it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilient_client.testing import faults
    from resilient_client.testing._aioresponses_compat import install_aioresponses_compat
    from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
    from resilient_client.testing._mock_steps import MockRequest, fail, reply
    from resilient_client.testing._mock_upstream import MockUpstream
    from resilient_client.testing._observe import assert_no_leaks, record_events
    from resilient_client.testing._virtual_time import DeadlockError, VirtualTimeLoop, run_virtual
    from resilient_client.testing._wire import ReceivedRequest

__all__ = [
    "DeadlockError",
    "FaultServer",
    "MockRequest",
    "MockUpstream",
    "ReceivedRequest",
    "VirtualTimeLoop",
    "assert_no_leaks",
    "black_hole",
    "fail",
    "faults",
    "install_aioresponses_compat",
    "record_events",
    "refused_url",
    "reply",
    "run_virtual",
]

_MODULES = {
    "DeadlockError": "_virtual_time",
    "FaultServer": "_fault_server",
    "MockRequest": "_mock_steps",
    "MockUpstream": "_mock_upstream",
    "ReceivedRequest": "_wire",
    "VirtualTimeLoop": "_virtual_time",
    "assert_no_leaks": "_observe",
    "black_hole": "_fault_server",
    "fail": "_mock_steps",
    "install_aioresponses_compat": "_aioresponses_compat",
    "record_events": "_observe",
    "refused_url": "_fault_server",
    "reply": "_mock_steps",
    "run_virtual": "_virtual_time",
}
"""The module that defines each name. `faults` is a module itself and therefore not listed."""

if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every misspelt name

    def __getattr__(name: str) -> object:
        """Load a public name on its first use (PEP 562)."""
        if name == "faults":
            return import_module(f"{__name__}.faults")
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
