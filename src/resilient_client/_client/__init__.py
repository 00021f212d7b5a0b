"""WHAT USERS HOLD: the client with its verbs, its fan-out methods and its inspection.

``runtime`` owns what lives as long as the client; ``endpoint_set`` keeps its endpoints current; ``arguments`` validates
what it is constructed from.
"""
