"""The pytest plugin. Loaded in every test run of everybody who has the library installed: imports nothing heavy."""
