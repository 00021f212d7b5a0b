"""HTTP/1.1 over connections of our own (RFC 9112).

``direct_path`` sends a request: it takes a connection from ``idle`` or makes one with ``dialer``, writes the ``head``
and perhaps an ``upload``, and waits for the response that ``connection`` receives and ``parser`` reads. What goes wrong
with a response is a ``failure``, a value; ``errors`` translates it.
"""
