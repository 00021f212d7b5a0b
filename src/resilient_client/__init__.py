"""resilient_client."""
