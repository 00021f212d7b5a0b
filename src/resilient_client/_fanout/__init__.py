"""Many calls at once, each with its own outcome. A call that fails does not affect the others.

Works with anything that has ``run(call) -> Outcome``, and knows nothing of HTTP::

    calls ──► source ──► workers ──┬──► gather        all outcomes, in the order of the calls   GatherResult
              draws      run       └──► as_completed  one outcome after the other, lazily       OutcomeStream

All workers share one source. So at most ``concurrency`` calls are in flight, and a lazy iterable is drawn only as far
as calls are started. No call is started after the deadline, so a fan-out ends in time however many calls there are.
"""

from resilient_client._fanout.gathering import gather
from resilient_client._fanout.result import GatherResult
from resilient_client._fanout.stream import OutcomeStream, as_completed

__all__ = ["GatherResult", "OutcomeStream", "as_completed", "gather"]
