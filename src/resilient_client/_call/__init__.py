"""ONE CALL, from arguments to value.

``prepare`` builds the request, ``settings`` resolves what is in force for it, ``execute`` runs it through the chain and
``finish`` completes its response or its error. ``fallback`` replaces an error by a value; ``stream`` leaves the body to
the caller.
"""
