"""NOUNS: what travels through the chain, and what comes out of it. Nothing here decides or sends."""
