"""How many attempts run at once or per second: permits, an adaptive limit, tokens, and quota headers."""
