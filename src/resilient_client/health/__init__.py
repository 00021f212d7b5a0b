"""Whether others are well, asked now: many targets at once, one report.

``target`` says what to ask and what to expect, ``look`` asks once and judges the answer, ``prober`` asks all of them
and remembers, ``report`` is what comes of it, ``openmetrics`` writes it for a monitoring system. It stands above the
client, which it uses like anybody else.
"""

from resilient_client._policies.balancing.hysteresis import HealthState
from resilient_client.health._openmetrics import openmetrics
from resilient_client.health._prober import Prober, probe
from resilient_client.health._report import HealthReport, ProbeResult
from resilient_client.health._target import Probe, Target, Targets

__all__ = [
    "HealthReport",
    "HealthState",
    "Probe",
    "ProbeResult",
    "Prober",
    "Target",
    "Targets",
    "openmetrics",
    "probe",
]
