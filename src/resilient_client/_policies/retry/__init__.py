"""Whether another attempt follows, after which delay, and whether the budget allows it."""
