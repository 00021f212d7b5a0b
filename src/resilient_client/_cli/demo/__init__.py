"""``resilient-client demo``: an order service whose three upstreams fail in turn, shown live.

It uses real sockets on the loopback and the real client. Only the upstreams follow a script.

::

    upstreams    what fails when, and the servers that fail
    orders       the client at work, and the reconciliation of its reports with what the servers counted
    state        the client's events as counters and as text, and a snapshot of everything
    view         a snapshot as a live picture, as plain lines and as SVG
    command      the command's options, and the run itself
"""
