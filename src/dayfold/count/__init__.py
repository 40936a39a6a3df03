"""Counting: increments of live totals, taken in while requests are answered and applied to the store exactly once."""
