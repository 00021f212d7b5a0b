"""Whether others are well, asked now: many targets at once, one report.

``target`` says what to ask and what to expect, ``look`` asks once and judges the answer, ``prober`` asks all of them
and remembers, ``report`` is what comes of it, ``openmetrics`` writes it for a monitoring system. It stands above the
client, which it uses like anybody else.
"""

from resilient_client.health.openmetrics import openmetrics
from resilient_client.health.prober import Prober, probe
from resilient_client.health.report import HealthReport, ProbeResult
from resilient_client.health.target import Probe, Target, Targets
from resilient_client.policies.health import HealthState

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
