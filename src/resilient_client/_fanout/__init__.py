"""Many calls at once, each with its own outcome. One failing never harms its siblings.

Works over anything that can ``run(call) -> Outcome``, and knows nothing of HTTP::

    calls ──► source ──► workers ──┬──► gather        all outcomes, in the order of the calls      GatherResult
              draws      make      └──► as_completed  one outcome after the other, lazily          OutcomeStream

Workers share one source, so no more calls are in flight, and no more of a lazy iterable is drawn, than
``concurrency``. Past the deadline no call is made, so a fan-out ends when it should, whatever its length.
"""

from resilient_client._fanout.gathering import gather
from resilient_client._fanout.result import GatherResult
from resilient_client._fanout.stream import OutcomeStream, as_completed

__all__ = ["GatherResult", "OutcomeStream", "as_completed", "gather"]
