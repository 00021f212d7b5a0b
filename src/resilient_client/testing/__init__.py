"""What users (and we) test with: upstreams in memory and on real sockets, and time that does not pass."""
