"""Decisions about HTTP itself: URLs, headers, redirects, redaction, and which requests are equal."""
