"""``resilient-client demo``: an order service whose three upstreams fail in turn, as a live picture.

Real sockets on the loopback, the real client, nothing scripted on its side. Reading order: ``timetable`` (what goes
wrong and when), ``upstreams`` (the servers), ``orders`` (the client at work), ``tally`` and ``journal`` (its events as
numbers and as words), ``snapshot`` (one moment of it all), ``picture`` and ``plain`` (how it is shown), ``books`` (what
the client says against what the servers saw), ``stage`` (all of it together) and ``command``.
"""
