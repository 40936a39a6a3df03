"""Floors 0 to 2: definitions, days, names, questions. No database is opened."""
