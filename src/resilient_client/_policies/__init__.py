"""Decisions as plain synchronous objects, without event loop or I/O. The time and the randomness are arguments."""
