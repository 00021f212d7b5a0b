"""ACTS: awaits, holds permits, sleeps. One pattern a file; none knows another. Their order stands in ``chain``."""
