"""Hedging: when a response takes unusually long, one more attempt starts alongside; the first good response wins.

``middleware`` is the link of the chain, ``race`` is one step of one call.
"""

from resilient_client._middleware.hedging.middleware import HedgingMiddleware

__all__ = ["HedgingMiddleware"]
