"""Sends events to a collector from any Python program. Stands beside the floors: it imports nothing of them, nor they of it.

Only the standard library is needed. What `Client` promises: it never blocks its caller nor raises into it.
"""

from dayfold.client.client import Client

__all__ = ["Client"]
