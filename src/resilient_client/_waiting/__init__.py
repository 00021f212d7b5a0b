"""WHAT QUEUES, for a permit or for a slot of a rate limit.

A policy decides who is next; what is here waits for it, and gives back what was granted to a task that was cancelled in
the same iteration of the loop. It knows policies and core only, nothing of HTTP, so that whatever else guards an
awaitable can wait in the same queues.
"""
