"""Frozen pydantic models, one per pattern. An invalid setting fails here, before any call is made."""
