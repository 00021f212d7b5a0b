"""What users (and we) test with: upstreams in memory and on real sockets, and time that does not pass.

`MockUpstream` answers `reply(...)` or `fail(...)` in memory; `FaultServer` plays `faults` on a real socket. Names are
loaded when they are asked for: the pytest plugin lies in this package, too, and every test run loads that.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilient_client.testing import faults
    from resilient_client.testing._aioresponses_compat import install_aioresponses_compat
    from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
    from resilient_client.testing._mock_upstream import MockUpstream
    from resilient_client.testing._observe import assert_no_leaks, record_events
    from resilient_client.testing._scripted import MockRequest, fail, reply
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

_HOMES = {
    "DeadlockError": "_virtual_time",
    "FaultServer": "_fault_server",
    "MockRequest": "_scripted",
    "MockUpstream": "_mock_upstream",
    "ReceivedRequest": "_wire",
    "VirtualTimeLoop": "_virtual_time",
    "assert_no_leaks": "_observe",
    "black_hole": "_fault_server",
    "fail": "_scripted",
    "install_aioresponses_compat": "_aioresponses_compat",
    "record_events": "_observe",
    "refused_url": "_fault_server",
    "reply": "_scripted",
    "run_virtual": "_virtual_time",
}
"""Where each name is at home; `faults` is a module, and its own home."""

if not TYPE_CHECKING:  # a type checker that saw this would take any misspelt name for a public one

    def __getattr__(name: str) -> object:
        """Load a public name on its first use (PEP 562)."""
        if name == "faults":
            return import_module(f"{__name__}.faults")
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
