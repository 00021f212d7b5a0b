"""Health checks: check many targets at once, and report the state of each and of the whole.

``_target`` describes a target and what a good answer is. ``_check`` checks one target once and judges the
answer. ``_prober`` checks all targets and keeps their states between checks. ``_report`` holds the results, and
``_openmetrics`` writes them for a monitoring system. The package uses the public client like any other caller.
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
