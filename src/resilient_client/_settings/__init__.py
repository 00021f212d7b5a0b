"""DESCRIBES: frozen pydantic models, one per pattern. A wrong setting fails here, before any call is made."""
