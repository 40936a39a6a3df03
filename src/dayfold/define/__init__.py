"""Definitions floor: pure. What a person writes in ``metrics.py`` and how it is checked."""
