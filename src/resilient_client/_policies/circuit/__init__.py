"""When a failing endpoint is left alone: the circuit, its window of results, and one circuit per endpoint."""
