"""When a second attempt starts alongside a slow one, what it may gain, and what it may cost."""
