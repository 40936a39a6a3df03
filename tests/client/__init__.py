"""The Python client, against a small real collector that misbehaves when told to."""
