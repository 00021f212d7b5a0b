"""DECIDES: plain synchronous objects. No event loop, no I/O; the time and chance are arguments."""
